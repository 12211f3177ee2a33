import type { FastifyInstance } from 'fastify';

/** Checks by the name of the part that they try. A check rejects when its part cannot be used. */
export type Checks = Record<string, () => Promise<void>>;

const CHECK_TIMEOUT_MS = 3_000;

/** Serves `/healthz` (the process runs) and `/readyz` (each part that it needs works; names those that do not). */
export async function healthRoutes(app: FastifyInstance, { checks }: { checks: Checks }): Promise<void> {
  app.get('/healthz', () => ({ status: 'ok' }));

  /** The checks that failed last time: a change is logged, a probe is not. */
  const failing = new Set<string>();

  app.get('/readyz', async (_request, reply) => {
    const entries = Object.entries(checks).map(async ([name, check]): Promise<[string, string]> => {
      try {
        await withTimeout(check());
        if (failing.delete(name)) app.log.info({ check: name }, 'ready again');
        return [name, 'ok'];
      } catch (error) {
        // The response leaves out the error: it may hold an address or a login.
        if (!failing.has(name)) app.log.warn({ error, check: name }, 'not ready');
        failing.add(name);
        return [name, 'unavailable'];
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
    timer = setTimeout(() => reject(new Error('no answer in time')), CHECK_TIMEOUT_MS);
  });
  try {
    await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
