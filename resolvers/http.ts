import { execute, type ExecutionResult, type GraphQLFormattedError, OperationTypeNode, getOperationAST } from 'graphql';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import Negotiator from 'negotiator';

import type { Core } from '../src/core.ts';
import { AppError } from '../src/errors.ts';
import type { Actor } from '../src/identity/actor.ts';
import { type Authenticate, bearerToken } from '../src/identity/verify.ts';
import type { Log } from '../src/log.ts';
import { createContext } from './context.ts';
import { errorFormatter, type FormatError, statusOf } from './errors.ts';
import { readRequest } from './http-request.ts';
import { executionOf, type OperationOptions } from './live/operations.ts';
import { traceIdOf } from './trace.ts';

export interface GraphHttpOptions extends OperationOptions {
  core: Core;
  authenticate: Authenticate;
  log: Log;
}

/** Largest request body, in bytes. */
const BODY_LIMIT = 1024 * 1024;

/** What an answer may be written in; the first where the client does not mind. */
const MEDIA_TYPES = ['application/json', 'application/graphql-response+json'];

/** Queries and mutations over HTTP at `/graphql`, as the GraphQL over HTTP specification has it. */
export async function graphHttpRoutes(app: FastifyInstance, options: GraphHttpOptions): Promise<void> {
  const { core, authenticate, log, isSchemaOpen } = options;
  const format = errorFormatter({ log, isSchemaOpen });

  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'string', bodyLimit: BODY_LIMIT }, (_request, body, done) =>
      done(null, body),
    );
    scope.addHook('onRequest', async (request, reply) => {
      void reply.header('x-trace-id', traceIdOf(request.headers));
    });
    scope.setErrorHandler((error: FastifyError, request, reply) => {
      const known = asKnown(error);
      const formatted = format(known, traceOf(reply));
      const status = known instanceof AppError ? known.status : statusOf(formatted);
      return send(reply, request, status, { errors: [formatted] });
    });
    scope.route({
      method: ['GET', 'POST'],
      url: '/graphql',
      handler: async (request, reply) => {
        const actor = await actorOf(request, authenticate, isSchemaOpen);
        if (mediaTypeFor(request) === undefined) {
          throw new AppError('validation_failed', `Accept ${MEDIA_TYPES.join(' or ')}.`, { status: 406 });
        }
        const args = executionOf(readRequest(request), createContext(core, actor, traceOf(reply)), options);
        if (Array.isArray(args)) return sendResult(reply, request, { errors: args }, format);
        assertMethod(request.method, getOperationAST(args.document, args.operationName)?.operation);
        return sendResult(reply, request, await execute(args), format);
      },
    });
  });
}

/** Nobody is let in without a token, except to read the schema where that is open. */
async function actorOf(
  request: FastifyRequest,
  authenticate: Authenticate,
  isSchemaOpen: boolean,
): Promise<Actor | undefined> {
  const { authorization } = request.headers;
  if (authorization === undefined && isSchemaOpen) return undefined;
  const tenant = request.headers['x-tenant-id'];
  const token = bearerToken(authorization);
  if (authorization !== undefined && token === undefined && authorization.trim() !== '') {
    throw new AppError('invalid_token', 'Authorization must be: Bearer <JWT>.', { status: 400 });
  }
  return authenticate(token, Array.isArray(tenant) ? tenant[0] : tenant);
}

function assertMethod(method: string, operation: OperationTypeNode | undefined): void {
  if (operation === OperationTypeNode.SUBSCRIPTION) {
    throw new AppError('validation_failed', 'Subscriptions run over a WebSocket (graphql-transport-ws).');
  }
  if (method === 'GET' && operation === OperationTypeNode.MUTATION) {
    throw new AppError('validation_failed', 'A mutation has to be a POST.', { status: 405 });
  }
}

/** The trace that the request belongs to, as the answer says it. */
const traceOf = (reply: FastifyReply): string => reply.getHeader('x-trace-id') as string;

const mediaTypeFor = (request: FastifyRequest): string | undefined =>
  new Negotiator(request.raw).mediaType(MEDIA_TYPES);

/** A request that failed as a whole has the HTTP status of its error. */
function sendResult(
  reply: FastifyReply,
  request: FastifyRequest,
  { data, errors }: ExecutionResult,
  format: FormatError,
): FastifyReply {
  if (!errors) return send(reply, request, 200, { data });
  const traceId = traceOf(reply);
  const formatted = errors.map((error) => format(error, traceId));
  const isWhole = !data || Object.values(data).every((value) => value === null);
  const status = isWhole ? statusOf(formatted[0] as GraphQLFormattedError) : 200;
  return send(reply, request, status, data === undefined ? { errors: formatted } : { errors: formatted, data });
}

function send(
  reply: FastifyReply,
  request: FastifyRequest,
  status: number,
  body: { data?: unknown; errors?: GraphQLFormattedError[] },
): FastifyReply {
  if (status === 405) void reply.header('allow', 'POST');
  return reply
    .code(status)
    .type(`${mediaTypeFor(request) ?? 'application/json'}; charset=utf-8`)
    .send(JSON.stringify(body));
}

/** What Fastify refuses before our code runs is the request's fault, not ours. */
function asKnown(error: FastifyError): Error {
  const { statusCode = 500, message } = error;
  if (error instanceof AppError || statusCode < 400 || statusCode >= 500) return error;
  if (statusCode === 413) {
    return new AppError('payload_too_large', `A request may hold ${BODY_LIMIT} bytes at most.`);
  }
  return new AppError('validation_failed', message, { status: statusCode });
}
