import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

import { Redis } from 'ioredis';
import { type WebSocket, WebSocketServer } from 'ws';

// The limit of sending message by message through ws: no GraphQL, and no ids of their own. Each event becomes one string,
// and every socket gets that string.

/** One for all, so that a message is as long as a real one. */
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

/** What has come since the last time goes out together: one write a socket. */
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
