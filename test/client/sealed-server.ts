import type { AddressInfo } from 'node:net';

import { buildSchema } from 'graphql';
import { handleProtocols, makeServer } from 'graphql-ws';
import { WebSocket, WebSocketServer } from 'ws';

import { type AcceptedStream, acceptStream, SealError } from '../../src/live/seal.ts';

/** A connection, recorded by the server. */
export interface Connection {
  socket: WebSocket;
  /** Payload of `connection_init`. */
  params: Record<string, unknown>;
  stream?: AcceptedStream;
  /** Received messages: text, or the bytes of a frame. */
  received: (string | Buffer)[];
  /** Types of the messages in each received frame. */
  types: string[][];
  /** Variables of each `subscribe`. */
  subscribed: unknown[];
  closed?: { code: number; reason: string };
}

/** Items, numbered from 1. The cursor of an item is its number. */
export interface Feed {
  add(...titles: string[]): void;
}

export interface SealedServerOptions {
  /** Identity that the server assumes for every client. */
  identity?: { tenantId: string; userId: string };
  /** Returns the frames to send instead of frame number `count`, from 0. */
  wire?: (frame: Buffer, count: number, connection: Connection) => (Buffer | string)[];
  /** Returns the code and reason with which to close instead of sending `connection_ack`. */
  refuse?: (params: Record<string, unknown>) => [code: number, reason: string] | undefined;
  /** Returns the payload to send instead of the one of `connection_ack`. */
  acknowledge?: (payload: Record<string, unknown>) => Record<string, unknown>;
}

export interface SealedServer extends Feed {
  readonly url: string;
  readonly connections: Connection[];
  close(): Promise<void>;
}

const schema = buildSchema(`
  type Query { echo(text: String!): String! }
  type Item { cursor: String! title: String! }
  type Subscription { item(after: String, upTo: Int): Item! }
`);

/** Starts a graphql-ws server that uses the server side of the sealed protocol, on a real socket. */
export async function sealedServer({
  identity = { tenantId: 'tenant', userId: 'user' },
  wire = (frame) => [frame],
  refuse = () => undefined,
  acknowledge = (payload) => payload,
}: SealedServerOptions = {}): Promise<SealedServer> {
  const titles: string[] = [];
  const waiting = new Set<() => void>();
  const connections: Connection[] = [];

  async function* item({ after, upTo }: { after?: string | null; upTo?: number | null }) {
    const last = upTo ?? Number.POSITIVE_INFINITY;
    for (let at = after === null || after === undefined ? titles.length : Number(after); at < last;) {
      const title = titles[at];
      if (title === undefined) await new Promise<void>((resolve) => waiting.add(resolve));
      else yield { item: { cursor: String(++at), title } };
    }
  }

  const graph = makeServer<Record<string, unknown>, { connection: Connection }>({
    schema,
    roots: { query: { echo: ({ text }: { text: string }) => text }, subscription: { item } },
    onConnect: ({ connectionParams = {}, extra: { connection } }) => {
      connection.params = connectionParams;
      const refusal = refuse(connectionParams);
      if (refusal) {
        connection.socket.close(...refusal);
        // Never settles, so that graphql-ws does not answer after the close above.
        return new Promise<never>(() => {});
      }
      const clientPublicKey = String(connectionParams['clientPublicKey']);
      connection.stream = acceptStream({ clientPublicKey, ...identity });
      const { serverPublicKey, salt } = connection.stream;
      return acknowledge({ protocol: 'nsg1', serverPublicKey, salt });
    },
    onSubscribe: ({ extra }, _id, { variables }) => {
      extra.connection.subscribed.push(variables);
    },
  });

  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols });
  await new Promise((resolve) => server.once('listening', resolve));
  server.on('connection', (socket) => {
    const connection: Connection = { socket, params: {}, received: [], types: [], subscribed: [] };
    connections.push(connection);
    let isAcknowledged = false;
    let count = 0;
    let handle: (message: string) => Promise<void> = async () => {};
    const onClosed = graph.opened(
      {
        protocol: socket.protocol,
        send: (message) => {
          const { stream } = connection;
          if (socket.readyState !== WebSocket.OPEN) return;
          if (!stream || !isAcknowledged) {
            isAcknowledged = true;
            socket.send(message);
            return;
          }
          for (const part of wire(stream.sealer.seal(message), count++, connection)) socket.send(part);
        },
        close: (code, reason) => socket.close(code, reason),
        onMessage: (listener) => (handle = listener),
      },
      { connection },
    );
    socket.on('message', (data: Buffer, isBinary) => {
      connection.received.push(isBinary ? data : data.toString());
      try {
        const messages = messagesIn(data, isBinary, connection.stream);
        if (isBinary) connection.types.push(messages.map(({ type }) => type));
        for (const message of messages) void handle(JSON.stringify(message));
      } catch (error) {
        socket.close(4400, error instanceof SealError ? error.code : 'internal');
      }
    });
    socket.on('close', (code, reason) => {
      connection.closed = { code, reason: reason.toString() };
      void onClosed(code, reason.toString());
    });
  });

  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections,
    add: (...more) => {
      titles.push(...more);
      for (const wakeUp of waiting) wakeUp();
      waiting.clear();
    },
    close: async () => {
      for (const { socket } of connections) socket.terminate();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Message {
  type: string;
}

function messagesIn(data: Buffer, isBinary: boolean, stream: AcceptedStream | undefined): Message[] {
  if (stream && !isBinary) throw new SealError('frame_refused', 'not sealed');
  const text = (stream ? stream.opener.open(data) : data).toString();
  return [JSON.parse(text) as Message | Message[]].flat();
}

/** Returns a JWT with these claims and an invalid signature, which {@link sealedServer} does not verify. */
export function tokenOf(claims: Record<string, unknown> = { tenant_id: 'tenant', sub: 'user' }): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'ES256' })}.${part(claims)}.c2lnbmF0dXJl`;
}
