import type { FastifyInstance } from 'fastify';

/** Names a part that the service needs and tries it. @throws when the part is not to be had. */
export type Checks = Record<string, () => Promise<void>>;

const CHECK_TIMEOUT_MS = 3_000;

/** `/healthz`: the process is alive. `/readyz`: so are the parts that it needs; it says which one is not. */
export async function healthRoutes(app: FastifyInstance, { checks }: { checks: Checks }): Promise<void> {
  app.get('/healthz', () => ({ status: 'ok' }));

  app.get('/readyz', async (_request, reply) => {
    const entries = Object.entries(checks).map(async ([name, check]): Promise<[string, string]> => {
      try {
        await withTimeout(check());
        return [name, 'ok'];
      } catch (error) {
        // What went wrong may hold an address or a login; the name is enough to know where to look.
        app.log.warn({ error, check: name }, 'not ready');
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
