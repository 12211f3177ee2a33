import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

import { Redis } from 'ioredis';
import { type WebSocket, WebSocketServer } from 'ws';

// Upper limit for sending single messages with ws: no GraphQL and no individual ids. Each event becomes one string,
// which is sent to every socket.

/** One id for all sockets, so that a message has a realistic length. */
const id = randomUUID();
const http = createServer();
const server = new WebSocketServer({ server: http, path: '/graphql', handleProtocols: () => 'graphql-transport-ws' });
const subscribers = new Map<WebSocket, Socket>();
let waiting: string[] = [];

server.on('connection', (socket, request) => {
  socket.on('message', (data: Buffer) => {
    const { type } = JSON.parse(data.toString()) as { type: string };
    if (type === 'connection_init') socket.send('{"type":"connection_ack"}');
    else if (type === 'subscribe') subscribers.set(socket, request.socket);
  });
  socket.on('close', () => subscribers.delete(socket));
});

/** Sends all events that have arrived since the last flush with one write per socket. */
function flush(): void {
  const batch = waiting;
  waiting = [];
  for (const [socket, wire] of subscribers) {
    if (batch.length > 1) wire.cork();
    for (const message of batch) socket.send(message);
    if (batch.length > 1) wire.uncork();
  }
}

const redis = new Redis(process.env['REDIS_URL'] ?? '');
redis.on('message', (_channel, text) => {
  if (waiting.length === 0) setImmediate(flush);
  waiting.push(`{"id":"${id}","type":"next","payload":{"data":${text}}}`);
});
await redis.subscribe(process.env['FANOUT_CHANNEL'] ?? '');
http.listen(0, '127.0.0.1', () => process.send?.({ port: (http.address() as AddressInfo).port }));
