import type { IncomingHttpHeaders, IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

import { CloseCode, handleProtocols, type Server as Protocol } from 'graphql-ws';
import { type WebSocket, WebSocketServer } from 'ws';

import { newId } from '../../src/ids.ts';
import { SealError } from '../../src/live/seal.ts';
import type { Log } from '../../src/log.ts';
import { traceIdOf } from '../server/trace-id.ts';
import { createSocketWriter } from './socket-writer.ts';
import { type Connection, createProtocol, type Path, type ProtocolOptions, TRANSPORTS } from './protocol.ts';

export interface SocketOptions extends ProtocolOptions {
  server: Server;
}

/** Largest message of a client, in bytes. */
const MAX_MESSAGE = 1024 * 1024;
/** How long a client may take to answer that it is closed: nobody holds up our shutdown. */
const CLOSE_TIMEOUT_MS = 3_000;
/** Between two portions of sockets that are closed in a shutdown. */
const DRAIN_STEP_MS = 50;

/** RFC 6455, 7.4.1. */
const GOING_AWAY = 1001;

/**
 * graphql-transport-ws for subscriptions, queries and mutations: at `/graphql` for gateways and tools, and inside a
 * sealed tunnel at `/stream` for people's own clients. What is checked on HTTP is checked here: a socket passes by
 * everything that protects HTTP by itself.
 *
 * @returns closes every socket with 1001, over some time.
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
      // What was said before is to arrive before.
      writer.flush();
      ws.close(code, reason);
    },
    endings: [],
  };
}

/** Lets the protocol speak over a socket. */
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
        // That was the acknowledgement, from which the client knows how to open what follows.
        connection.isSealed = true;
        writer.seal(connection.stream.sealer);
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
