import { execute, type ExecutionResult, type GraphQLFormattedError, OperationTypeNode, getOperationAST } from 'graphql';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import Negotiator from 'negotiator';

import type { HttpClient } from '../../src/channels/http-client.ts';
import { AppError } from '../../src/errors.ts';
import type { Actor } from '../../src/identity/actor.ts';
import { type Authenticate, bearerToken } from '../../src/identity/verify.ts';
import { newId } from '../../src/ids.ts';
import { createContext } from './context.ts';
import { type FormatError, statusOf } from './errors.ts';
import { readRequest } from './http-request.ts';
import { CALLBACK_PROTOCOL, callbackIn, subscribeWithCallback } from '../subscriptions/callback.ts';
import type { LiveServices } from '../subscriptions/client-admission.ts';
import { prepareExecution, type OperationOptions } from './operations.ts';
import { executeOverSse, subscribeOverSse } from '../subscriptions/sse.ts';
import { traceIdOf } from './trace-id.ts';

export interface GraphHttpOptions extends OperationOptions {
  live: LiveServices;
  authenticate: Authenticate;
  /** Calls the gateways that want to be told of subscriptions. */
  http: HttpClient;
  /** Beginnings of their URLs. */
  callbackUrls: readonly string[];
}

/** Largest request body, in bytes. */
const BODY_LIMIT = 1024 * 1024;

const EVENT_STREAM = 'text/event-stream';
/** What an answer may be written in; the first where the client does not mind. */
const JSON_TYPES = ['application/json', 'application/graphql-response+json'];
/** How a gateway says that it understands callbacks; the answer is JSON. */
const CALLBACK_TYPE = 'application/json;callbackSpec=1.0';
const MEDIA_TYPES = [...JSON_TYPES, EVENT_STREAM, CALLBACK_TYPE];

/**
 * GraphQL over HTTP at `/graphql`: queries and mutations; subscriptions as server-sent events, or told to a gateway that
 * is called back.
 */
export async function graphHttpRoutes(app: FastifyInstance, options: GraphHttpOptions): Promise<void> {
  const { live, authenticate, isSchemaOpen, http, callbackUrls } = options;
  const { core, formatError: format } = live;

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
        const mediaType = mediaTypeFor(request);
        if (mediaType === undefined) {
          throw new AppError('validation_failed', `Accept ${MEDIA_TYPES.join(' or ')}.`, { status: 406 });
        }
        const isStream = mediaType === EVENT_STREAM;
        const asked = readRequest(request, { isReadOnly: isStream });
        const callback = callbackIn(asked.extensions, callbackUrls);
        const clientId = isStream || callback ? newId() : undefined;
        const args = await prepareExecution(asked, createContext(core, actor, traceOf(reply), clientId), options);
        if (Array.isArray(args)) return sendResult(reply, request, { errors: args }, format);
        const operation = getOperationAST(args.document, args.operationName)?.operation;
        if (operation === OperationTypeNode.MUTATION && request.method === 'GET') {
          throw new AppError('validation_failed', 'A mutation has to be a POST.', { status: 405 });
        }
        if (clientId !== undefined) void reply.header('x-client-id', clientId);
        const headers = reply.getHeaders() as Record<string, string>;
        if (operation !== OperationTypeNode.SUBSCRIPTION) {
          if (!isStream) return sendResult(reply, request, await execute(args), format);
          await executeOverSse(reply.raw, args, { live, headers });
          return reply.hijack();
        }
        if (isStream) {
          const refused = await subscribeOverSse(reply.raw, args, { live, headers });
          return refused ? sendResult(reply, request, refused, format) : reply.hijack();
        }
        if (!callback) {
          throw new AppError(
            'validation_failed',
            'Subscriptions run over a WebSocket (graphql-transport-ws), as text/event-stream, or with a callback.',
          );
        }
        const refused = await subscribeWithCallback(args, callback, { live, http });
        if (refused) return sendResult(reply, request, refused, format);
        void reply.header('subscription-protocol', CALLBACK_PROTOCOL);
        return send(reply, request, 200, { data: null });
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

/** The trace that the request belongs to, as the answer says it. */
const traceOf = (reply: FastifyReply): string => reply.getHeader('x-trace-id') as string;

/** Answers are in UTF-8 always; to the negotiator whoever names it would ask for something else. */
const CHARSET = /;\s*charset\s*=\s*"?utf-8"?/gi;

function mediaTypeFor({ headers }: FastifyRequest, types = MEDIA_TYPES): string | undefined {
  const accept = headers.accept?.replaceAll(CHARSET, '');
  return new Negotiator({ headers: { accept } }).mediaType(types);
}

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
    .type(`${mediaTypeFor(request, JSON_TYPES) ?? JSON_TYPES[0]}; charset=utf-8`)
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
