import { type Client, type ConnectionInitMessage, createClient } from 'graphql-ws/client';

import { backoff } from './backoff.ts';
import { isFinal } from './failures.ts';
import { SealedWebSocket } from './sealed-socket.ts';

/** How often the connection is tried, and how long it may take to answer. Milliseconds. */
const PING_MS = 15_000;
const PONG_WAIT_MS = 10_000;

export interface ConnectOptions {
  /** The service's `/stream`, `wss://…`. A function is asked at each connection. */
  url: string | (() => string | Promise<string>);
  /** A JWT. A function is asked at each connection, so that a connection whose token ran out comes back with a new one. */
  token: string | (() => string | Promise<string>);
  /** For a superadmin: the tenant to be in. Otherwise the one of the token. */
  tenantId?: string;
}

/**
 * A graphql-ws client over the sealed connection. It connects when something is subscribed to, and whenever the
 * connection is lost it comes back, for ever, waiting longer each time (up to 30 s, jittered). What coming back does not
 * mend ends a subscription with its error: a refused token, a server without `nsg1`, a failure inside the server. With
 * {@link resume} the last of these is waited out too.
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
    // A network that went away without a word is only seen by asking.
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
