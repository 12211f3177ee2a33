import type { IncomingHttpHeaders, IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

import { CloseCode, handleProtocols, type Server as Protocol } from 'graphql-ws';
import { type WebSocket, WebSocketServer } from 'ws';

import { RETRY_AFTER_S } from '../../src/errors.ts';
import { parseExact } from '../../src/exact-json.ts';
import { newId } from '../../src/ids.ts';
import { SealError } from '../../src/live/seal.ts';
import type { Log } from '../../src/log.ts';
import { traceIdOf } from '../server/trace-id.ts';
import { createSocketWriter } from './socket-writer.ts';
import { type Connection, createProtocol, type Path, type ProtocolOptions, TRANSPORTS } from './protocol.ts';

export interface SocketOptions extends ProtocolOptions {
  server: Server;
}

/** Maximum size of a client's message, in bytes. */
const MAX_MESSAGE = 1024 * 1024;
/** Maximum time for a client to confirm a close, in milliseconds. */
const CLOSE_TIMEOUT_MS = 3_000;
/** Delay between two portions of sockets that are closed on shutdown, in milliseconds. */
const DRAIN_STEP_MS = 50;

/** RFC 6455, 7.4.1. */
const GOING_AWAY = 1001;

/**
 * Serves graphql-transport-ws for subscriptions, queries and mutations: at `/graphql` for gateways and tools, and in
 * sealed frames at `/stream` for end-user clients. Makes the same checks as for HTTP, because Fastify's hooks do not
 * run for WebSockets.
 *
 * @returns a function that closes all sockets with 1001, spread over `drainMs`.
 */
export function liveSockets(options: SocketOptions): () => Promise<void> {
  const { server, log, live } = options;
  const { limits, admission } = live;
  // A constant, since @types/ws does not know closeTimeout yet.
  const socketOptions = {
    noServer: true,
    maxPayload: MAX_MESSAGE,
    closeTimeout: CLOSE_TIMEOUT_MS,
    clientTracking: false,
    handleProtocols,
  };
  const sockets = new WebSocketServer(socketOptions);
  const protocol = createProtocol(options);
  const open = new Map<WebSocket, Connection>();

  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    // Not parsed with `new URL`, which throws for malformed URLs; an exception here would end the process.
    const path = request.url?.split('?', 1)[0] ?? '';
    if (!Object.hasOwn(TRANSPORTS, path)) return refuse(socket, '404 Not Found');
    if (admission.isFull) return refuse(socket, '503 Service Unavailable', `Retry-After: ${RETRY_AFTER_S}\r\n`);
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
      // The pong of a slow reader is delayed by the data before the ping, so received data also counts as a sign of
      // life.
      const hasMoved = connection.writer.hasMoved();
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
  const writer = createSocketWriter({
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
    writer,
    stream: undefined,
    isSealed: false,
    isAlive: true,
    isClosed: false,
    running: new Map(),
    close: (code, reason) => {
      // Sends waiting messages before the close frame.
      writer.flush();
      ws.close(code, reason);
    },
    endings: [],
  };
}

/** Connects a socket with the protocol. */
function serve(ws: WebSocket, connection: Connection, protocol: Protocol<Connection>, log: Log): void {
  const { writer, close } = connection;
  const failed = (error: unknown): void => {
    log.error({ error, trace_id: connection.traceId }, 'socket failed');
    close(CloseCode.InternalServerError, 'internal');
  };
  const closed = protocol.opened(
    {
      protocol: ws.protocol,
      send: (message) => {
        writer.send(message);
        if (!connection.stream || connection.isSealed) return;
        // The first message is `connection_ack` with the server's key. All later messages are sealed.
        connection.isSealed = true;
        writer.seal(connection.stream.sealer);
      },
      close: (code = 1000, reason = '') => close(code, reason),
      onMessage: (take) => {
        ws.on('message', (data: Buffer, isBinary: boolean) => {
          try {
            for (const message of messagesIn(connection, data, isBinary)) {
              // Ignores messages after a close, e.g. because the token was revoked.
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
  // A `close` event follows every error.
  ws.on('error', (error) => log.debug({ error, trace_id: connection.traceId }, 'socket error'));
  ws.once('close', (code, reason) => {
    connection.isClosed = true;
    for (const end of connection.endings) end();
    for (const { stop } of connection.running.values()) stop();
    closed(code, reason.toString()).catch(failed);
  });
}

/**
 * Returns the messages in a frame.
 * @throws {SealError} when a frame is unexpectedly sealed, not sealed, or tampered with.
 */
function messagesIn({ path, stream, isSealed }: Connection, data: Buffer, isBinary: boolean): string[] {
  if (path === '/graphql') return [data.toString()];
  if (isBinary !== isSealed)
    throw new SealError('frame_refused', 'sealed frames must be binary, other frames must be text');
  if (!stream || !isSealed) return [data.toString()];
  const text = stream.opener.open(data).toString();
  if (!text.startsWith('[')) return [text];
  try {
    return (parseExact(text) as unknown[]).map((message) => JSON.stringify(message));
  } catch {
    return [text];
  }
}

/** Closes sockets in portions, so that the clients do not reconnect to other instances all at once. */
async function drain(open: ReadonlyMap<WebSocket, Connection>, drainMs: number): Promise<void> {
  const sockets = [...open.keys()];
  // Not `once` of node:events, which rejects when a socket emits an error.
  const gone = Promise.all(sockets.map((ws) => new Promise((resolve) => ws.once('close', resolve))));
  const portion = Math.max(1, Math.ceil(sockets.length / Math.max(1, drainMs / DRAIN_STEP_MS)));
  for (let from = 0; from < sockets.length; from += portion) {
    if (from > 0) await delay(DRAIN_STEP_MS);
    for (const ws of sockets.slice(from, from + portion)) open.get(ws)?.close(GOING_AWAY, 'going away');
  }
  await gone;
}
