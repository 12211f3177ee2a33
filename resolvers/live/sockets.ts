import type { IncomingHttpHeaders, IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

import { execute, GraphQLError, type GraphQLFormattedError } from 'graphql';
import {
  CloseCode,
  type Context as ProtocolContext,
  handleProtocols,
  makeServer,
  MessageType,
  type Server as ProtocolServer,
} from 'graphql-ws';
import { type WebSocket, WebSocketServer } from 'ws';

import { AppError, validationFailed } from '../../src/errors.ts';
import type { Actor } from '../../src/identity/actor.ts';
import type { Authenticate } from '../../src/identity/verify.ts';
import { newId } from '../../src/ids.ts';
import { acceptStream, type AcceptedStream, SealError, STREAM_PROTOCOL } from '../../src/live/seal.ts';
import type { Log } from '../../src/log.ts';
import { createContext } from '../context.ts';
import { traceIdOf } from '../trace.ts';
import { closeCode, type ConnectionParams, tenantIn, tokenIn } from './connect.ts';
import { type LiveDoor, letIn } from './door.ts';
import { asGraphQLError, executionOf, type OperationOptions } from '../operations.ts';
import { createOutlet, headOf, type Outlet } from './outlet.ts';
import { type SharedExecution, subscribeShared } from './shared.ts';

export interface SocketOptions extends OperationOptions {
  server: Server;
  door: LiveDoor;
  authenticate: Authenticate;
  log: Log;
}

/** Largest message of a client, in bytes. */
const MAX_MESSAGE = 1024 * 1024;
/** Longest id of an operation, in characters: it stands in every message. */
const MAX_ID = 256;
/** How long a client may take to answer that it is closed: nobody holds up our shutdown. */
const CLOSE_TIMEOUT_MS = 3_000;
/** Between two portions of sockets that are closed in a shutdown. */
const DRAIN_STEP_MS = 50;

/** RFC 6455, 7.4.1. */
const GOING_AWAY = 1001;

const TRANSPORTS = { '/graphql': 'websocket', '/stream': 'stream' } as const;
type Path = keyof typeof TRANSPORTS;

/** One open socket. It is kept small: there are many. */
interface Connection {
  id: string;
  path: Path;
  traceId: string;
  /** Of the request that opened it, until the client is known. */
  headers: IncomingHttpHeaders;
  actor: Actor | undefined;
  outlet: Outlet;
  /** Of `/stream`, once the keys are agreed. */
  stream: AcceptedStream | undefined;
  isSealed: boolean;
  isAlive: boolean;
  isClosed: boolean;
  /** What it runs, by id: also what its client has given up and that has not ended yet. */
  running: Map<string, Running>;
  close(code: number, reason: string): void;
  /** What is to be undone when it is closed. */
  endings: (() => void)[];
}

/** An operation between its beginning and its end. */
interface Running {
  stop(): void;
}

type Protocol = ProtocolContext<ConnectionParams, Connection>;

/**
 * graphql-transport-ws for subscriptions, queries and mutations: at `/graphql` for gateways and tools, and inside a
 * sealed tunnel at `/stream` for people's own clients. What is checked on HTTP is checked here: a socket passes by
 * everything that protects HTTP by itself.
 *
 * @returns closes every socket with 1001, over some time.
 */
export function liveSockets(options: SocketOptions): () => Promise<void> {
  const { server, log, door } = options;
  const { limits, admission } = door;
  // A constant, since @types/ws does not know closeTimeout yet.
  const socketOptions = {
    noServer: true,
    maxPayload: MAX_MESSAGE,
    closeTimeout: CLOSE_TIMEOUT_MS,
    clientTracking: false,
    handleProtocols,
  };
  const sockets = new WebSocketServer(socketOptions);
  const protocol = protocolServer(options);
  const open = new Map<WebSocket, Connection>();

  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    // Not by `new URL`: it throws at what a hostile client can send, and here nobody would catch it.
    const path = request.url?.split('?', 1)[0] ?? '';
    if (!Object.hasOwn(TRANSPORTS, path)) return refuse(socket, '404 Not Found');
    if (admission.isFull) return refuse(socket, '503 Service Unavailable', 'Retry-After: 5\r\n');
    const { headers } = request;
    sockets.handleUpgrade(request, socket, head, (ws) => {
      const connection = connectionOf(ws, socket, { path: path as Path, headers, maxBuffer: limits.bufferBytes, log });
      open.set(ws, connection);
      connection.endings.push(admission.enter(), () => open.delete(ws));
      serve(ws, connection, protocol, log);
    });
  };
  server.on('upgrade', upgrade);

  const ping = setInterval(() => {
    for (const [ws, connection] of open) {
      // A pong comes after everything that was sent before its ping: a slow reader shows in another way that it reads.
      const hasMoved = connection.outlet.hasMoved();
      if (!connection.isAlive && !hasMoved) ws.terminate();
      else if (ws.readyState === ws.OPEN) {
        connection.isAlive = false;
        ws.ping();
      }
    }
  }, limits.pingMs).unref();

  return async () => {
    server.off('upgrade', upgrade);
    await drain(open, limits.drainMs);
    clearInterval(ping);
  };
}

function refuse(socket: Duplex, status: string, headers = ''): void {
  socket.on('error', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\n${headers}Connection: close\r\n\r\n`);
}

function connectionOf(
  ws: WebSocket,
  socket: Duplex,
  { path, headers, maxBuffer, log }: { path: Path; headers: IncomingHttpHeaders; maxBuffer: number; log: Log },
): Connection {
  const traceId = traceIdOf(headers);
  const outlet = createOutlet({
    socket,
    isOpen: () => ws.readyState === ws.OPEN,
    maxBuffer,
    onOverflow: () => ws.terminate(),
    onFailure: (error) => {
      if (error instanceof SealError) return ws.close(CloseCode.BadRequest, error.code);
      log.error({ error, trace_id: traceId }, 'socket failed');
      ws.terminate();
    },
  });
  return {
    id: newId(),
    path,
    traceId,
    headers,
    actor: undefined,
    outlet,
    stream: undefined,
    isSealed: false,
    isAlive: true,
    isClosed: false,
    running: new Map(),
    close: (code, reason) => {
      // What was said before is to arrive before.
      outlet.flush();
      ws.close(code, reason);
    },
    endings: [],
  };
}

/** Lets the protocol speak over a socket. */
function serve(ws: WebSocket, connection: Connection, protocol: ProtocolServer<Connection>, log: Log): void {
  const { outlet, close } = connection;
  const failed = (error: unknown): void => {
    log.error({ error, trace_id: connection.traceId }, 'socket failed');
    close(CloseCode.InternalServerError, 'internal');
  };
  const closed = protocol.opened(
    {
      protocol: ws.protocol,
      send: (message) => {
        outlet.send(message);
        if (!connection.stream || connection.isSealed) return;
        // That was the acknowledgement, from which the client knows how to open what follows.
        connection.isSealed = true;
        outlet.seal(connection.stream.sealer);
      },
      close: (code = 1000, reason = '') => close(code, reason),
      onMessage: (take) => {
        ws.on('message', (data: Buffer, isBinary: boolean) => {
          try {
            for (const message of messagesIn(connection, data, isBinary)) {
              // Whoever was sent away, e.g. since the token was revoked, is not listened to any more.
              if (ws.readyState !== ws.OPEN) return;
              take(message).catch(failed);
            }
          } catch (error) {
            if (!(error instanceof SealError)) return failed(error);
            close(CloseCode.BadRequest, error.code);
          }
        });
      },
    },
    connection,
  );
  ws.on('pong', () => {
    connection.isAlive = true;
  });
  // Whatever it was, `close` follows.
  ws.on('error', (error) => log.debug({ error, trace_id: connection.traceId }, 'socket error'));
  ws.once('close', (code, reason) => {
    connection.isClosed = true;
    for (const end of connection.endings) end();
    for (const { stop } of connection.running.values()) stop();
    closed(code, reason.toString()).catch(failed);
  });
}

/** @throws {SealError} for what is not sealed and should be, or the other way round, or was tampered with. */
function messagesIn({ path, stream, isSealed }: Connection, data: Buffer, isBinary: boolean): string[] {
  if (path === '/graphql') return [data.toString()];
  if (isBinary !== isSealed) throw new SealError('frame_refused', 'sealed frames are binary, and only they');
  if (!stream || !isSealed) return [data.toString()];
  const text = stream.opener.open(data).toString();
  if (!text.startsWith('[')) return [text];
  try {
    return (JSON.parse(text) as unknown[]).map((message) => JSON.stringify(message));
  } catch {
    return [text];
  }
}

function protocolServer(options: SocketOptions): ProtocolServer<Connection> {
  const { core, limits, broadcasts, formatError } = options.door;
  const format = ({ extra }: Protocol, errors: readonly unknown[]): GraphQLFormattedError[] =>
    errors.map((error) => formatError(error, extra.traceId));

  return makeServer<ConnectionParams, Connection>({
    connectionInitWaitTimeout: limits.initTimeoutMs,
    onConnect: ({ connectionParams = {}, extra }) => connect(extra, connectionParams, options),
    onSubscribe: async ({ extra }, id, payload) => {
      if (extra.running.has(id)) {
        extra.close(CloseCode.SubscriberAlreadyExists, 'id in use');
        return [new GraphQLError('The id is in use.')];
      }
      if (id.length > MAX_ID) {
        return [asGraphQLError(validationFailed([{ path: 'id', message: `has at most ${MAX_ID} characters` }]))];
      }
      if (extra.outlet.isFull() || extra.running.size >= limits.operationsPerSocket) {
        const message = `A connection runs ${limits.operationsPerSocket} operations at once, and none while it does not read.`;
        return [asGraphQLError(new AppError('rate_limited', message))];
      }
      const context = createContext(core, extra.actor, extra.traceId, extra.id);
      // From here on it counts, so that others which come meanwhile are counted against it.
      extra.running.set(id, { stop: () => {} });
      const args = await executionOf(payload, context, options);
      if (Array.isArray(args)) {
        extra.running.delete(id);
        return args;
      }
      const begun: Begun = { ...args, connection: extra, id };
      return begun;
    },
    execute: async (args) => {
      const { connection, id } = args as Begun;
      try {
        return await execute(args);
      } finally {
        connection.running.delete(id);
      }
    },
    subscribe: async (args) => {
      const { connection, id, ...shared } = args as Begun;
      const { running } = connection;
      const onEnd = (): void => void running.delete(id);
      try {
        const result = await subscribeShared(shared, subscriberOf(connection, id), { broadcasts, formatError, onEnd });
        if (Symbol.asyncIterator in result) running.set(id, { stop: () => void result.return() });
        else onEnd();
        return result;
      } catch (error) {
        onEnd();
        throw error;
      }
    },
    onOperation: (protocol, id, _payload, _args, result) => {
      // What could not even begin ends in an `error` message, like what does not parse, and not in a result.
      if (!('errors' in result) || result.data !== undefined || !(id in protocol.subscriptions)) return;
      delete protocol.subscriptions[id];
      const payload = format(protocol, result.errors ?? []);
      protocol.extra.outlet.send(JSON.stringify({ id, type: MessageType.Error, payload }));
    },
    onError: (protocol, _id, _payload, errors) => format(protocol, errors),
    onNext: (protocol, _id, _payload, _args, result) =>
      result.errors ? { data: result.data ?? null, errors: format(protocol, result.errors) } : undefined,
  });
}

/** What an operation is executed with, from its beginning on. */
type Begun = SharedExecution & { connection: Connection; id: string };

function subscriberOf({ outlet }: Connection, id: string) {
  const head = headOf(id);
  return {
    write: (payloads: readonly Buffer[]) => outlet.next(head, payloads),
    isFull: outlet.isFull,
    drained: outlet.drained,
  };
}

/** @returns what the acknowledgement says, or false where the client was turned away. */
async function connect(
  connection: Connection,
  params: ConnectionParams,
  { authenticate, door, log }: SocketOptions,
): Promise<Record<string, unknown> | false> {
  const { id, path, traceId, headers, endings } = connection;
  try {
    // A client seals for whom its own message names; what a proxy adds on the way must not name another.
    const around = path === '/stream' ? {} : headers;
    const actor = await authenticate(tokenIn(params, around), tenantIn(params, around));
    connection.headers = {};
    // A client that left meanwhile has been cleaned up after already.
    if (connection.isClosed) return false;
    if (path === '/stream') connection.stream = agree(params, actor);
    connection.actor = actor;
    const onEnd = (reason: AppError): void => connection.close(...closeCode(reason));
    endings.push(letIn(door, { id, actor, transport: TRANSPORTS[path], onEnd }));
    const { stream } = connection;
    return {
      clientId: id,
      ...(stream && { protocol: STREAM_PROTOCOL, serverPublicKey: stream.serverPublicKey, salt: stream.salt }),
    };
  } catch (error) {
    if (!(error instanceof AppError)) log.error({ error, trace_id: traceId }, 'connection failed');
    connection.close(...closeCode(error));
    return false;
  }
}

function agree({ clientPublicKey }: ConnectionParams, { tenantId, userId }: Actor): AcceptedStream {
  const refuseKey = (message: string): AppError => validationFailed([{ path: 'clientPublicKey', message }]);
  if (typeof clientPublicKey !== 'string') throw refuseKey('is required: this connection is encrypted');
  try {
    return acceptStream({ clientPublicKey, tenantId, userId });
  } catch (error) {
    if (error instanceof SealError) throw refuseKey(error.message);
    throw error;
  }
}

/** Sends clients away in portions, so that they do not all come back to the others at the same moment. */
async function drain(open: ReadonlyMap<WebSocket, Connection>, drainMs: number): Promise<void> {
  const sockets = [...open.keys()];
  // Not by `once` of node:events: that fails with the first socket that fails while it is closed.
  const gone = Promise.all(sockets.map((ws) => new Promise((resolve) => ws.once('close', resolve))));
  const portion = Math.max(1, Math.ceil(sockets.length / Math.max(1, drainMs / DRAIN_STEP_MS)));
  for (let from = 0; from < sockets.length; from += portion) {
    if (from > 0) await delay(DRAIN_STEP_MS);
    for (const ws of sockets.slice(from, from + portion)) open.get(ws)?.close(GOING_AWAY, 'going away');
  }
  await gone;
}
