import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';

import {
  type DocumentNode,
  type ExecutionArgs,
  getOperationAST,
  GraphQLError,
  type GraphQLFormattedError,
  parse,
  validate,
} from 'graphql';
import { CloseCode, type Context as ConnectionContext, MessageType, type SubscribePayload } from 'graphql-ws';
import { type Extra, useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';

import type { Core } from '../src/core.ts';
import { AppError } from '../src/errors.ts';
import type { Actor } from '../src/identity/actor.ts';
import { type Authenticate, bearerToken } from '../src/identity/verify.ts';
import type { Log } from '../src/log.ts';
import { createContext, type GraphContext } from './context.ts';
import { errorFormatter } from './errors.ts';
import { assertMayRun, type GuardOptions } from './guard.ts';
import { MAX_TOKENS } from './http.ts';
import { traceIdOf } from './trace.ts';

export interface GraphWebSocketOptions extends GuardOptions {
  server: Server;
  core: Core;
  authenticate: Authenticate;
  log: Log;
}

/** Largest message of a client, in bytes. */
const MAX_MESSAGE = 1024 * 1024;
const INIT_TIMEOUT_MS = 10_000;
const PING_MS = 12_000;
/** How long a client may take to answer that it is closed: nobody holds up our shutdown. */
const CLOSE_TIMEOUT_MS = 3_000;
/** setTimeout takes no more. */
const MAX_TIMER_MS = 2 ** 31 - 1;

type Params = Record<string, unknown>;

type State = {
  actor: Actor;
  traceId: string;
  /** Ends the connection when its token runs out. */
  expiry: NodeJS.Timeout;
};

type Connection = ConnectionContext<Params, Extra & Partial<State>>;

/**
 * graphql-transport-ws at `/graphql`, for subscriptions, queries and mutations. What is checked on HTTP is checked
 * here: a socket passes by everything that protects HTTP by itself.
 *
 * @returns closes every socket with 1001.
 */
export function graphWebSocket(options: GraphWebSocketOptions): () => Promise<void> {
  const { server, core, log, isSchemaOpen } = options;
  // A constant, since @types/ws does not know closeTimeout yet.
  const socketOptions = { noServer: true, maxPayload: MAX_MESSAGE, closeTimeout: CLOSE_TIMEOUT_MS };
  const sockets = new WebSocketServer(socketOptions);
  const formatError = errorFormatter({ log, isSchemaOpen });

  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    // Not by `new URL`: it throws at what a hostile client can send, and here nobody would catch it.
    if (request.url?.split('?', 1)[0] !== '/graphql') {
      socket.on('error', () => socket.destroy());
      socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, (ws) => sockets.emit('connection', ws, request));
  };
  server.on('upgrade', upgrade);

  const format = ({ extra }: Connection, errors: readonly unknown[]): GraphQLFormattedError[] =>
    errors.map((error) => formatError(error, extra.traceId as string));

  const { dispose } = useServer<Params, State>(
    {
      connectionInitWaitTimeout: INIT_TIMEOUT_MS,
      onConnect: (connection) => connect(connection, options),
      onSubscribe: ({ extra }, _id, payload) => {
        try {
          return executionOf(payload, createContext(core, extra.actor, extra.traceId as string), options);
        } catch (error) {
          return [asGraphQLError(error)];
        }
      },
      onOperation: (connection, id, _payload, _args, result) => {
        // What could not even begin ends in an `error` message, like what does not parse, and not in a result.
        if (!('errors' in result) || result.data !== undefined || !(id in connection.subscriptions)) return;
        delete connection.subscriptions[id];
        const payload = format(connection, result.errors ?? []);
        connection.extra.socket.send(JSON.stringify({ id, type: MessageType.Error, payload }));
      },
      onError: (connection, _id, _payload, errors) => format(connection, errors),
      onNext: (connection, _id, _payload, _args, result) =>
        result.errors ? { data: result.data ?? null, errors: format(connection, result.errors) } : undefined,
      onClose: ({ extra }) => clearTimeout(extra.expiry),
    },
    sockets,
    PING_MS,
  );

  return async () => {
    server.off('upgrade', upgrade);
    await dispose();
  };
}

async function connect(connection: Connection, { authenticate, log }: GraphWebSocketOptions): Promise<boolean> {
  const { extra } = connection;
  const params = connection.connectionParams ?? {};
  extra.traceId = traceIdOf(extra.request.headers);
  try {
    const actor = await authenticate(tokenIn(params, extra.request), tenantIn(params, extra.request));
    extra.actor = actor;
    // A client that left meanwhile has been cleaned up after already.
    if (extra.socket.readyState === extra.socket.OPEN) closeWhenExpired(extra, actor.expiresAt);
    return true;
  } catch (error) {
    if (!(error instanceof AppError)) log.error({ error, trace_id: extra.traceId }, 'connection failed');
    const [code, reason] = closeCode(error);
    extra.socket.close(code, reason);
    return false;
  }
}

/** A token is good for a connection until it runs out; the client comes back with a new one. */
function closeWhenExpired(extra: Connection['extra'], expiresAt: Date): void {
  const remaining = Math.max(expiresAt.getTime() - Date.now(), 0);
  const check = (): void => {
    if (expiresAt.getTime() > Date.now()) closeWhenExpired(extra, expiresAt);
    else extra.socket.close(CloseCode.Forbidden, 'token_expired');
  };
  extra.expiry = setTimeout(check, Math.min(remaining, MAX_TIMER_MS)).unref();
}

/** The socket's side of the error table: 4401 is final for a client, 4403 makes it come back with a new token. */
function closeCode(error: unknown): [number, string] {
  if (!(error instanceof AppError)) return [CloseCode.InternalServerError, 'internal'];
  switch (error.code) {
    case 'token_expired':
    case 'tenant_mismatch':
      return [CloseCode.Forbidden, error.code];
    case 'invalid_token':
      return [error.status === 400 ? CloseCode.BadRequest : CloseCode.Unauthorized, error.code];
    case 'identity_unavailable':
      return [CloseCode.InternalServerError, error.code];
    default:
      return [CloseCode.Unauthorized, error.code];
  }
}

/**
 * `token`, or an Authorization header as gateways and tools forward it: at the top, under `headers`, or on the request
 * that opened the socket.
 */
function tokenIn(params: Params, request: IncomingMessage): string | undefined {
  const { token } = params;
  if (typeof token === 'string' && token !== '') return bearerToken(token) ?? token;
  const header = headerIn(params, 'authorization') ?? request.headers.authorization;
  return header === undefined ? undefined : (bearerToken(header) ?? header);
}

const tenantIn = (params: Params, request: IncomingMessage): string | undefined =>
  headerIn(params, 'x-tenant-id') ?? request.headers['x-tenant-id']?.toString();

function headerIn(params: Params, name: string): string | undefined {
  const headers = typeof params['headers'] === 'object' && params['headers'] !== null ? params['headers'] : {};
  for (const [key, value] of [...Object.entries(headers), ...Object.entries(params)]) {
    if (key.toLowerCase() === name && typeof value === 'string' && value !== '') return value;
  }
  return undefined;
}

/** What HTTP gets from Apollo and its guard. @returns what is wrong with the document, if anything is. */
function executionOf(
  { query, operationName, variables }: SubscribePayload,
  context: GraphContext,
  guard: GuardOptions,
): ExecutionArgs | GraphQLError[] {
  const { schema } = guard;
  const document = parseDocument(query);
  const problems = validate(schema, document);
  if (problems.length > 0) return problems.map((problem) => withCode(problem, 'GRAPHQL_VALIDATION_FAILED'));
  if (!getOperationAST(document, operationName)) {
    throw withCode(new GraphQLError('Unknown operation.'), 'OPERATION_RESOLUTION_FAILURE');
  }
  assertMayRun(guard, document, operationName, context);
  return {
    schema,
    document,
    contextValue: context,
    ...(operationName ? { operationName } : {}),
    ...(variables ? { variableValues: variables } : {}),
  };
}

function parseDocument(query: string): DocumentNode {
  try {
    return parse(query, { maxTokens: MAX_TOKENS });
  } catch (error) {
    throw error instanceof GraphQLError ? withCode(error, 'GRAPHQL_PARSE_FAILED') : error;
  }
}

const withCode = (error: GraphQLError, code: string): GraphQLError =>
  new GraphQLError(error.message, { nodes: error.nodes ?? null, extensions: { ...error.extensions, code } });

const asGraphQLError = (error: unknown): GraphQLError =>
  error instanceof GraphQLError ? error : new GraphQLError((error as Error).message, { originalError: error as Error });
