import { fastify, LogController } from 'fastify';

import type { Log } from './log.ts';

export type HttpServer = ReturnType<typeof createHttpServer>;

/** The HTTP server of the process; each role registers its routes on it. */
export const createHttpServer = (log: Log) =>
  fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: 'idle',
    // Java's client offers HTTP/2 with each request, and goes on with HTTP/1.1 when the offer is ignored.
    http: { shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === 'websocket' },
  });
