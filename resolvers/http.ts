import { AsyncLocalStorage } from 'node:async_hooks';

import { ApolloServer, type ApolloServerPlugin, type HTTPGraphQLResponse, HeaderMap } from '@apollo/server';
import {
  ApolloServerPluginCacheControlDisabled,
  ApolloServerPluginInlineTraceDisabled,
  ApolloServerPluginLandingPageDisabled,
  ApolloServerPluginUsageReportingDisabled,
} from '@apollo/server/plugin/disabled';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

import type { Core } from '../src/core.ts';
import { AppError } from '../src/errors.ts';
import type { Actor } from '../src/identity/actor.ts';
import { type Authenticate, bearerToken } from '../src/identity/verify.ts';
import { newId } from '../src/ids.ts';
import type { Log } from '../src/log.ts';
import { createContext, type GraphContext } from './context.ts';
import { errorFormatter, type FormatError, statusOf } from './errors.ts';
import { assertMayRun, type GuardOptions } from './guard.ts';
import { MAX_TOKENS } from './live/documents.ts';
import { traceIdOf } from './trace.ts';

export interface GraphHttpOptions extends GuardOptions {
  core: Core;
  authenticate: Authenticate;
  log: Log;
}

/** Largest request body, in bytes. */
const BODY_LIMIT = 1024 * 1024;
/** For Apollo's error hook, which is not told of the request that it formats an error of. */
const traceIds = new AsyncLocalStorage<string>();

/** GraphQL over HTTP at `/graphql`: Apollo Server, called directly, without a web framework of its own in between. */
export async function graphHttpRoutes(app: FastifyInstance, options: GraphHttpOptions): Promise<void> {
  const { core, authenticate, log, isSchemaOpen, schema } = options;
  const format = errorFormatter({ log, isSchemaOpen });
  const apollo = new ApolloServer<GraphContext>({
    schema,
    csrfPrevention: true,
    introspection: true,
    includeStacktraceInErrorResponses: false,
    stopOnTerminationSignals: false,
    parseOptions: { maxTokens: MAX_TOKENS },
    logger: log,
    formatError: (_formatted, error) => format(error, traceIds.getStore() ?? newId()),
    plugins: [
      guardPlugin({ schema, isSchemaOpen }),
      // Each of these costs time on every request and tells somebody else about it.
      ApolloServerPluginCacheControlDisabled(),
      ApolloServerPluginInlineTraceDisabled(),
      ApolloServerPluginUsageReportingDisabled(),
      ApolloServerPluginLandingPageDisabled(),
    ],
  });
  await apollo.start();
  app.addHook('onClose', () => apollo.stop());

  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'string', bodyLimit: BODY_LIMIT }, (_request, body, done) =>
      done(null, body),
    );
    scope.setErrorHandler((error: FastifyError, request, reply) => sendError(request, reply, asKnown(error), format));
    scope.route({
      method: ['GET', 'POST'],
      url: '/graphql',
      handler: async (request, reply) => {
        const traceId = traceIdOf(request.headers);
        void reply.header('x-trace-id', traceId);
        const actor = await actorOf(request, authenticate, isSchemaOpen);
        const httpGraphQLRequest = {
          method: request.method,
          headers: headersOf(request),
          search: new URL(request.url, 'http://localhost').search,
          body: parseBody(request),
        };
        const context = async (): Promise<GraphContext> => createContext(core, actor, traceId);
        return send(
          reply,
          await traceIds.run(traceId, () => apollo.executeHTTPGraphQLRequest({ httpGraphQLRequest, context })),
        );
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

function parseBody(request: FastifyRequest): unknown {
  if (request.method === 'GET' || typeof request.body !== 'string' || request.body === '') return undefined;
  if (!/^application\/(.+\+)?json\b/i.test(request.headers['content-type'] ?? '')) {
    throw new AppError('unsupported_media_type', 'Send application/json.');
  }
  try {
    return JSON.parse(request.body) as unknown;
  } catch {
    throw new AppError('validation_failed', 'The request body is not JSON.');
  }
}

/** Checks every operation before it is executed, and gives whole failures the HTTP status of their error. */
function guardPlugin(guard: GuardOptions): ApolloServerPlugin<GraphContext> {
  return {
    requestDidStart: async () => ({
      didResolveOperation: async ({ document, operation, operationName, contextValue }) => {
        assertMayRun(guard, document, operationName, contextValue);
        if (operation?.operation === 'subscription') {
          throw new AppError('validation_failed', 'Subscriptions run over a WebSocket (graphql-transport-ws).');
        }
      },
      willSendResponse: async ({ response }) => {
        const { status = 200 } = response.http;
        // What Apollo refuses itself has its status already, e.g. 405.
        if (response.body.kind !== 'single' || (status >= 400 && status < 500)) return;
        const { data, errors } = response.body.singleResult;
        const [first] = errors ?? [];
        if (!first) return;
        const isWhole = !data || Object.values(data).every((value) => value === null);
        response.http.status = isWhole ? statusOf(first) : 200;
      },
    }),
  };
}

function headersOf(request: FastifyRequest): HeaderMap {
  const headers = new HeaderMap();
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(', ') : value);
  }
  return headers;
}

async function send(reply: FastifyReply, { status, headers, body }: HTTPGraphQLResponse): Promise<FastifyReply> {
  for (const [name, value] of headers) void reply.header(name, value);
  if (status !== undefined) void reply.code(status);
  if (body.kind === 'complete') return reply.send(body.string);
  const chunks: string[] = [];
  for await (const chunk of body.asyncIterator) chunks.push(chunk);
  return reply.send(chunks.join(''));
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

/** A request that fails before Apollo sees it is answered in the same form. */
function sendError(request: FastifyRequest, reply: FastifyReply, error: Error, format: FormatError): FastifyReply {
  const traceId = traceIdOf(request.headers);
  const formatted = format(error, traceId);
  const status = error instanceof AppError ? error.status : statusOf(formatted);
  return reply
    .code(status)
    .type('application/json')
    .header('x-trace-id', traceId)
    .send({ errors: [formatted] });
}
