import { fastify, type FastifyError, type FastifyReply, type FastifyRequest, LogController } from 'fastify';

import { isDatabaseUnavailable } from './database/errors.ts';
import { AppError, type ErrorCode, RETRY_AFTER_S } from './errors.ts';
import { newId } from './ids.ts';
import type { Log } from './log.ts';

export type HttpServer = ReturnType<typeof createHttpServer>;

/**
 * Creates the HTTP server of the process. Each role registers its routes on it. Errors of routes without their own error
 * handler are answered with `{ error_code, message }`.
 */
export const createHttpServer = (log: Log) => {
  const app = fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: 'idle',
    // Ignores other upgrades: Java's client offers HTTP/2 in each request and continues with HTTP/1.1.
    http: { shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === 'websocket' },
    frameworkErrors: (error, request, reply) => void sendError(error, request, reply),
  });
  app.setErrorHandler(sendError);
  // Fastify also calls this for a known path with another method.
  app.setNotFoundHandler((request) => {
    throw new AppError('not_found', `The server has no route ${request.method} ${pathOf(request)}.`);
  });
  return app;
};

function sendError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const known = asAppError(error);
  if (known.status === 503) void reply.header('retry-after', RETRY_AFTER_S);
  const body = { error_code: known.code, message: known.message, ...known.details };
  void reply.code(known.status).type('application/json; charset=utf-8');
  if (known.status < 500) return reply.send(body);
  const traceId = newId();
  request.log.error({ error, trace_id: traceId, method: request.method, path: pathOf(request) }, 'request failed');
  return reply.send({ ...body, trace_id: traceId });
}

/** The URL without its query, which may contain a token. */
const pathOf = ({ url }: FastifyRequest): string => url.split('?', 1)[0] ?? '';

/** Codes of the errors that Fastify raises for an invalid request; others are `validation_failed`. */
const CODES: Record<number, ErrorCode> = {
  404: 'not_found',
  405: 'not_found',
  413: 'payload_too_large',
  415: 'unsupported_media_type',
};

function asAppError(error: FastifyError): AppError {
  if (error instanceof AppError && error.code !== 'internal') return error;
  const { statusCode: status = 500, message } = error;
  if (status >= 400 && status < 500) return new AppError(CODES[status] ?? 'validation_failed', message, { status });
  if (isDatabaseUnavailable(error)) {
    return new AppError('unavailable', 'The database is unavailable. Try again later.');
  }
  return new AppError('internal', 'Internal error. The server log contains the details under this trace_id.');
}
