import { once } from 'node:events';

import { WebSocket } from 'ws';

interface ProtocolMessage {
  id?: string;
  type: string;
  payload?: never;
}

/** A client at the level of protocol messages, which can violate the protocol. */
export interface SocketClient {
  ws: WebSocket;
  /** All received messages, in order. */
  received: ProtocolMessage[];
  say(message: Record<string, unknown>): void;
  subscribe(id: string, query: string, variables?: Record<string, unknown>): void;
  /** Results of an operation, in order. */
  results<Data>(id: string): { data?: Data; errors?: unknown[] }[];
  /** Resolves when the connection is closed. */
  closed: Promise<{ code: number; reason: string }>;
}

export interface SocketClientOptions {
  path?: string;
  autoPong?: boolean;
}

/** Opens a WebSocket without sending anything. */
export async function openSocket(
  url: string,
  { path = '/graphql', autoPong = true }: SocketClientOptions = {},
): Promise<SocketClient> {
  const ws = new WebSocket(`${url.replace(/^http/, 'ws')}${path}`, 'graphql-transport-ws', { autoPong });
  const received: ProtocolMessage[] = [];
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    ws.once('close', (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  ws.on('message', (data: Buffer) => received.push(JSON.parse(data.toString()) as ProtocolMessage));
  await once(ws, 'open');
  // From here on, `close` reports how the connection ended.
  ws.on('error', () => {});
  const say = (message: Record<string, unknown>): void => ws.send(JSON.stringify(message));
  return {
    ws,
    received,
    closed,
    say,
    subscribe: (id, query, variables = {}) => say({ id, type: 'subscribe', payload: { query, variables } }),
    results: (id) =>
      received.filter((message) => message.id === id && message.type === 'next').map(({ payload }) => payload as never),
  };
}

/** Opens a WebSocket and waits for `connection_ack`, or returns how the connection was refused. */
export async function connectSocket(
  url: string,
  token: string,
  options?: SocketClientOptions,
): Promise<SocketClient & { end?: { code: number; reason: string } }> {
  const client = await openSocket(url, options);
  const acknowledged = once(client.ws, 'message');
  client.say({ type: 'connection_init', payload: { token } });
  const end = await Promise.race([acknowledged.then(() => undefined), client.closed]);
  return end ? { ...client, end } : client;
}
