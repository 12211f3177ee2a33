import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { type FormattedExecutionResult, type GraphQLFormattedError, print } from 'graphql';
import { type Client, createClient } from 'graphql-ws';

export interface Answer<Data> {
  status: number;
  headers: Headers;
  data: Data | null | undefined;
  errors: GraphQLFormattedError[];
}

/** Runs a saved operation or any document over HTTP. */
export async function run<Data, Variables>(
  url: string,
  token: string | undefined,
  document: TypedDocumentNode<Data, Variables> | string,
  variables?: Variables,
  headers: Record<string, string> = {},
): Promise<Answer<Data>> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
    body: JSON.stringify({ query: typeof document === 'string' ? document : print(document), variables }),
  });
  const { data, errors } = (await response.json()) as { data?: Data | null; errors?: GraphQLFormattedError[] };
  return { status: response.status, headers: response.headers, data, errors: errors ?? [] };
}

/** Like {@link run}, but throws when there are errors. */
export async function query<Data, Variables>(
  url: string,
  token: string,
  document: TypedDocumentNode<Data, Variables>,
  variables?: Variables,
): Promise<Data> {
  const { data, errors } = await run(url, token, document, variables);
  if (!data || errors.length > 0) throw new Error(JSON.stringify(errors));
  return data;
}

/** A graphql-ws client whose subscriptions are queues. */
export interface LiveClient {
  client: Client;
  subscribe<Data, Variables extends Record<string, unknown>>(
    document: TypedDocumentNode<Data, Variables>,
    variables?: Variables,
  ): LiveQueue<FormattedExecutionResult<Data>>;
  close(): Promise<void>;
}

export interface LiveQueue<Item> {
  /** Returns the next message. Rejects when the subscription ends first. */
  next(): Promise<Item>;
  /** Messages that have been received but not read. */
  readonly pending: Item[];
  stop(): void;
}

export function liveClient(url: string, connectionParams: Record<string, unknown>): LiveClient {
  const client = createClient({
    url: `${url.replace(/^http/, 'ws')}/graphql`,
    connectionParams,
    lazy: false,
    retryAttempts: 0,
    onNonLazyError: () => {},
  });
  return {
    client,
    close: async () => client.dispose(),
    subscribe: (document, variables) => {
      const pending: FormattedExecutionResult<never>[] = [];
      let waiting: PromiseWithResolvers<FormattedExecutionResult<never>> | undefined;
      let ended: Error | undefined;
      const end = (error: Error): void => {
        ended = error;
        waiting?.reject(error);
        waiting = undefined;
      };
      const stop = client.subscribe<never>(
        { query: print(document), ...(variables === undefined ? {} : { variables }) },
        {
          next: (message) => {
            if (waiting) {
              waiting.resolve(message as FormattedExecutionResult<never>);
              waiting = undefined;
            } else {
              pending.push(message as FormattedExecutionResult<never>);
            }
          },
          error: (error) => end(Array.isArray(error) ? new SubscriptionRefused(error) : new Error(describe(error))),
          complete: () => end(new Error('the subscription has completed')),
        },
      );
      return {
        pending,
        stop,
        next: () => {
          const message = pending.shift();
          if (message) return Promise.resolve(message);
          if (ended) return Promise.reject(ended);
          waiting ??= Promise.withResolvers();
          return waiting.promise;
        },
      };
    },
  };
}

/** The server answered a subscription with an error message. */
export class SubscriptionRefused extends Error {
  readonly errors: readonly GraphQLFormattedError[];

  constructor(errors: readonly GraphQLFormattedError[]) {
    super(errors.map((error) => error.message).join('; '));
    this.errors = errors;
  }
}

function describe(error: unknown): string {
  const { code, reason } = error as { code?: number; reason?: string };
  return code === undefined ? String(error) : `closed with ${code} ${reason ?? ''}`;
}

/** Opens a WebSocket, sends `connection_init` and returns how the server closed it, or that it did not. */
export async function connectionOutcome(
  url: string,
  payload: Record<string, unknown> | undefined,
): Promise<{ acknowledged: boolean; code?: number; reason?: string; socket: WebSocket }> {
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/graphql`, 'graphql-transport-ws');
  return new Promise((resolve, reject) => {
    socket.addEventListener('open', () => socket.send(JSON.stringify({ type: 'connection_init', payload })));
    socket.addEventListener('message', (event) => {
      if ((JSON.parse(String(event.data)) as { type: string }).type === 'connection_ack') {
        resolve({ acknowledged: true, socket });
      }
    });
    socket.addEventListener('close', (event) =>
      resolve({ acknowledged: false, code: event.code, reason: event.reason, socket }),
    );
    socket.addEventListener('error', () => reject(new Error('the socket could not be opened')));
  });
}
