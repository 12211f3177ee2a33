import { fastify, LogController } from 'fastify';

import type { Log } from './log.ts';

export type HttpServer = ReturnType<typeof createHttpServer>;

/** Creates the HTTP server of the process. Each role registers its routes on it. */
export const createHttpServer = (log: Log) =>
  fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: 'idle',
    // Ignores other upgrades: Java's client offers HTTP/2 in each request and continues with HTTP/1.1.
    http: { shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === 'websocket' },
  });
