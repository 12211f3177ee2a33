import { type ApolloServer, HeaderMap, type HTTPGraphQLRequest } from '@apollo/server';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type ExecutionResult, getOperationAST, type GraphQLFormattedError, OperationTypeNode } from 'graphql';
import { LRUCache } from 'lru-cache';
import Negotiator from 'negotiator';

import type { HttpClient } from '../../src/channels/http-client.ts';
import { decompressBody } from '../../src/content-encoding.ts';
import { AppError, RETRY_AFTER_S } from '../../src/errors.ts';
import type { Authenticate } from '../../src/identity/verify.ts';
import { newId } from '../../src/ids.ts';
import { type Callback, CALLBACK_PROTOCOL, callbackIn, subscribeWithCallback } from '../subscriptions/callback.ts';
import type { LiveServices } from '../subscriptions/client-admission.ts';
import { sendOverSse, subscribeOverSse } from '../subscriptions/sse.ts';
import { createContext, type GraphContext } from './context.ts';
import { type FormatError, statusOf } from './errors.ts';
import { readRequest } from './http-request.ts';
import { identify } from './identity.ts';
import { type OperationOptions, type OperationRequest, prepareExecution } from './operations.ts';
import { TRACE_HEADER } from './plugins/error-format.ts';
import { traceIdOf } from './trace-id.ts';

export interface GraphHttpOptions extends OperationOptions {
  apollo: ApolloServer<GraphContext>;
  live: LiveServices;
  authenticate: Authenticate;
  /** Calls the gateways that subscribe with a callback. */
  http: HttpClient;
  /** Prefixes of the callback URLs that the operator allows. */
  callbackUrls: readonly string[];
}

/** Maximum request body size, in bytes, also after decompression. */
const BODY_LIMIT = 1024 * 1024;

const EVENT_STREAM = 'text/event-stream';
/** Media types of a response; the first one when the client has no preference. */
const JSON_TYPES = ['application/json', 'application/graphql-response+json'];
/** A gateway that supports callbacks sends this; the response is JSON. */
const CALLBACK_TYPE = 'application/json;callbackSpec=1.0';
const MEDIA_TYPES = [...JSON_TYPES, EVENT_STREAM, CALLBACK_TYPE];

/**
 * GraphQL over HTTP at `/graphql`. Apollo Server executes queries and mutations; subscriptions run as server-sent
 * events, or with a callback to a gateway.
 */
export async function graphHttpRoutes(app: FastifyInstance, options: GraphHttpOptions): Promise<void> {
  const { apollo, live, callbackUrls } = options;
  const { core, formatError } = live;

  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'string', bodyLimit: BODY_LIMIT }, (_request, body, done) =>
      done(null, body),
    );
    scope.addHook('preParsing', decompressBody(BODY_LIMIT));
    scope.addHook('onRequest', async (request, reply) => {
      void reply.header(TRACE_HEADER, traceIdOf(request.headers));
    });
    scope.setErrorHandler((error: FastifyError, request, reply) => {
      const known = asKnown(error);
      const formatted = formatError(known, traceOf(reply));
      const status = known instanceof AppError ? known.status : statusOf(formatted);
      return send(reply, request, status, JSON.stringify({ errors: [formatted] }));
    });
    scope.route({
      method: ['GET', 'POST'],
      url: '/graphql',
      handler: async (request, reply) => {
        const actor = await identify(request, options);
        const { mediaType } = negotiate(request);
        if (mediaType === undefined) {
          throw new AppError('validation_failed', `The Accept header must allow ${MEDIA_TYPES.join(' or ')}.`, {
            status: 406,
          });
        }
        const isStream = mediaType === EVENT_STREAM;
        const operation = readRequest(request);
        const callback = callbackIn(operation.extensions, callbackUrls);
        const clientId = isStream || callback ? newId() : undefined;
        if (clientId !== undefined) void reply.header('x-client-id', clientId);
        const context = createContext(core, actor, traceOf(reply), clientId);
        if ((isStream || callback) && isSubscription(operation, options)) {
          return subscribe(request, reply, { operation, context, callback: isStream ? undefined : callback }, options);
        }
        const { status, body } = await executeOperation(apollo, request, { operation, context, isStream });
        // A request that is refused before its execution has no data and gets a plain response.
        if (!isStream || !('data' in (JSON.parse(body) as object))) return send(reply, request, status, body);
        sendOverSse(reply.raw, body, replyHeaders(reply));
        return reply.hijack();
      },
    });
  });
}

/** Returns whether the operation is a subscription. Only selects the transport; the transport checks all rules. */
function isSubscription(
  operation: OperationRequest,
  { persisted, checkDocument }: Pick<OperationOptions, 'persisted' | 'checkDocument'>,
): boolean {
  const text = persisted.find(operation);
  const document = text === undefined ? undefined : checkDocument(text).document;
  return (
    document !== undefined &&
    getOperationAST(document, operation.operationName)?.operation === OperationTypeNode.SUBSCRIPTION
  );
}

interface Requested {
  operation: OperationRequest;
  context: GraphContext;
}

async function subscribe(
  request: FastifyRequest,
  reply: FastifyReply,
  { operation, context, callback }: Requested & { callback: Callback | undefined },
  options: GraphHttpOptions,
): Promise<FastifyReply> {
  const { live, http } = options;
  const args = await prepareExecution(operation, context, options);
  if (Array.isArray(args)) return sendRefusal(reply, request, { errors: args }, live.formatError);
  if (!callback) {
    const refused = await subscribeOverSse(reply.raw, args, { live, headers: replyHeaders(reply) });
    return refused ? sendRefusal(reply, request, refused, live.formatError) : reply.hijack();
  }
  const refused = await subscribeWithCallback(args, callback, { live, http });
  if (refused) return sendRefusal(reply, request, refused, live.formatError);
  void reply.header('subscription-protocol', CALLBACK_PROTOCOL);
  return send(reply, request, 200, JSON.stringify({ data: null }));
}

/**
 * Executes a query or mutation through Apollo Server.
 *
 * @throws `validation_failed` for a request that could be cross-site forgery, `unavailable` while the server stops.
 */
async function executeOperation(
  apollo: ApolloServer<GraphContext>,
  request: FastifyRequest,
  { operation, context, isStream }: Requested & { isStream: boolean },
): Promise<{ status: number; body: string }> {
  const response = await apollo.executeHTTPGraphQLRequest({
    httpGraphQLRequest: toApolloRequest(request, operation, isStream),
    context: async () =>
      request.method === 'GET' && operation.variables ? { ...context, variables: operation.variables } : context,
  });
  if (response.body.kind !== 'complete') throw new Error('the schema has no @defer and no @stream');
  const { status = 200 } = response;
  const body = response.body.string;
  if (response.headers.has(TRACE_HEADER)) return { status, body };
  // Apollo Server refused the request before our plugins saw it.
  if (status >= 500) throw new AppError('unavailable', 'The server is shutting down. Send the request again.');
  const { errors } = JSON.parse(body) as { errors: GraphQLFormattedError[] };
  throw new AppError('validation_failed', errors[0]?.message ?? 'The request is invalid.', { status });
}

function toApolloRequest(
  { method, headers }: FastifyRequest,
  { query, operationName, variables, extensions, documentId }: OperationRequest,
  isStream: boolean,
): HTTPGraphQLRequest {
  const forwarded = new HeaderMap();
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) forwarded.set(name, Array.isArray(value) ? value.join(', ') : value);
  }
  // The media type of the response is negotiated by the route, with more types than Apollo Server knows.
  forwarded.set('accept', 'application/json');
  // A cross-site page cannot read an event stream, so it does not need a CSRF header.
  if (isStream) forwarded.set('apollo-require-preflight', 'event-stream');
  const persistedQuery =
    documentId && !extensions?.['persistedQuery']
      ? { persistedQuery: { version: 1, sha256Hash: documentId.replace(/^sha256:/, '') } }
      : undefined;
  const body: Record<string, unknown> = {
    query: query ?? null,
    operationName: operationName ?? null,
    variables: variables ?? null,
    extensions: persistedQuery ? { ...extensions, ...persistedQuery } : (extensions ?? null),
  };
  return { method, headers: forwarded, search: method === 'GET' ? toSearch(body) : '', body };
}

function toSearch(body: Record<string, unknown>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(body)) {
    if (value !== null) search.set(name, typeof value === 'string' ? value : JSON.stringify(value));
  }
  return `?${search}`;
}

const traceOf = (reply: FastifyReply): string => reply.getHeader(TRACE_HEADER) as string;

const replyHeaders = (reply: FastifyReply): Record<string, string> => reply.getHeaders() as Record<string, string>;

/** Maximum length of a cached `Accept` header, in characters. */
const MAX_CACHED_ACCEPT = 200;

/** Removed before negotiation: responses are always UTF-8, and the negotiator does not support a charset. */
const CHARSET = /;\s*charset\s*=\s*"?utf-8"?/gi;

interface Negotiated {
  /** Undefined when the client accepts none of our types. */
  mediaType: string | undefined;
  /** Type of a response that is not a stream. */
  jsonType: string;
}

/** Clients send few different `Accept` headers, and negotiation takes longer than reading the rest of a request. */
const negotiated = new LRUCache<string, Negotiated>({ max: 100 });

function negotiate({ headers: { accept = '*/*' } }: FastifyRequest): Negotiated {
  const known = negotiated.get(accept);
  if (known) return known;
  const negotiator = new Negotiator({ headers: { accept: accept.replaceAll(CHARSET, '') } });
  const jsonType = negotiator.mediaType(JSON_TYPES) ?? 'application/json';
  const result = { mediaType: negotiator.mediaType(MEDIA_TYPES), jsonType };
  if (accept.length <= MAX_CACHED_ACCEPT) negotiated.set(accept, result);
  return result;
}

/** Answers a subscription that did not start, with the HTTP status of its first error. */
function sendRefusal(
  reply: FastifyReply,
  request: FastifyRequest,
  { errors = [] }: ExecutionResult,
  formatError: FormatError,
): FastifyReply {
  const formatted = errors.map((error) => formatError(error, traceOf(reply)));
  return send(reply, request, statusOf(formatted[0] as GraphQLFormattedError), JSON.stringify({ errors: formatted }));
}

function send(reply: FastifyReply, request: FastifyRequest, status: number, body: string): FastifyReply {
  if (status === 405) void reply.header('allow', 'POST');
  if (status === 503) void reply.header('retry-after', RETRY_AFTER_S);
  return reply
    .code(status)
    .type(`${negotiate(request).jsonType}; charset=utf-8`)
    .send(body);
}

/** Converts an error that Fastify raises for an invalid request to an error for the client, with the same status. */
function asKnown(error: FastifyError): Error {
  const { statusCode = 500, message } = error;
  if (error instanceof AppError || statusCode < 400 || statusCode >= 500) return error;
  if (statusCode === 413) {
    return new AppError('payload_too_large', `The request body exceeds the limit of ${BODY_LIMIT} bytes.`);
  }
  return new AppError('validation_failed', message, { status: statusCode });
}
