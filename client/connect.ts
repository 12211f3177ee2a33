import { type Client, type ConnectionInitMessage, createClient } from 'graphql-ws/client';

import { backoff } from './backoff.ts';
import { isFinal } from './failures.ts';
import { SealedWebSocket } from './sealed-socket.ts';

/** Interval between two pings, in milliseconds. */
const PING_MS = 15_000;
/** Time within which the server must answer a ping, in milliseconds. */
const PONG_WAIT_MS = 10_000;

export interface ConnectOptions {
  /** URL of the service's `/stream`, `wss://…`. A function is called for each connection. */
  url: string | (() => string | Promise<string>);
  /**
   * A JWT. A function is called for each connection, so that the client reconnects with a new token after the old one
   * expired.
   */
  token: string | (() => string | Promise<string>);
  /** For a superadmin: the tenant to act in. Default: the tenant of the token. */
  tenantId?: string;
}

/**
 * Creates a graphql-ws client over the sealed connection. It connects at the first subscription. When the connection is
 * lost, it reconnects without a limit, with an increasing delay of up to 30 s and jitter. An error that a new connection
 * cannot solve ends the subscription: a refused token, a server without `nsg1`, an internal error of the server.
 * {@link resume} also retries after an internal error.
 */
export function connect({ url, token, tenantId }: ConnectOptions): Client {
  let unanswered: ReturnType<typeof setTimeout> | undefined;
  const client = createClient({
    url,
    webSocketImpl: SealedWebSocket,
    connectionParams: async (): Promise<NonNullable<ConnectionInitMessage['payload']>> => ({
      token: typeof token === 'function' ? await token() : token,
      ...(tenantId === undefined ? {} : { 'x-tenant-id': tenantId }),
    }),
    retryAttempts: Number.POSITIVE_INFINITY,
    retryWait: (attempt) => new Promise((resolve) => setTimeout(resolve, backoff(attempt))),
    shouldRetry: (failure) => !isFinal(failure),
    // Without pings, the loss of the network may stay unnoticed, because no close arrives.
    keepAlive: PING_MS,
    on: {
      ping: (isReceived) => {
        if (!isReceived) unanswered = setTimeout(() => client.terminate(), PONG_WAIT_MS);
      },
      pong: (isReceived) => {
        if (isReceived) clearTimeout(unanswered);
      },
      closed: () => clearTimeout(unanswered),
    },
  });
  return client;
}
