import type { FastifyInstance } from 'fastify';

/** Readiness checks by component name. A check rejects when its component is unavailable. */
export type Checks = Record<string, () => Promise<void>>;

/** Why a component is not ready, in words that `/readyz` may show to everybody. */
export class NotReadyError extends Error {}

const CHECK_TIMEOUT_MS = 3_000;

/** Serves `/healthz` (the process runs) and `/readyz` (all checks succeed; lists the components that fail). */
export async function healthRoutes(app: FastifyInstance, { checks }: { checks: Checks }): Promise<void> {
  app.get('/healthz', () => ({ status: 'ok' }));

  /** Checks that failed in the last probe. Only changes are logged. */
  const failing = new Set<string>();

  app.get('/readyz', async (_request, reply) => {
    const entries = Object.entries(checks).map(async ([name, check]): Promise<[string, string]> => {
      try {
        await withTimeout(check());
        if (failing.delete(name)) app.log.info({ check: name }, 'ready again');
        return [name, 'ok'];
      } catch (error) {
        if (!failing.has(name)) app.log.warn({ error, check: name }, 'not ready');
        failing.add(name);
        // The response does not contain other errors, which may include addresses or credentials.
        return [name, error instanceof NotReadyError ? error.message : 'unavailable'];
      }
    });
    const results = Object.fromEntries(await Promise.all(entries));
    const missing = Object.keys(results).filter((name) => results[name] !== 'ok');
    return reply
      .code(missing.length === 0 ? 200 : 503)
      .send({ status: missing.length === 0 ? 'ready' : 'not_ready', missing, checks: results });
  });
}

async function withTimeout(work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${CHECK_TIMEOUT_MS} ms`)), CHECK_TIMEOUT_MS);
  });
  try {
    await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
