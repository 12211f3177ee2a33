import { randomUUID } from 'node:crypto';

import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { type FormattedExecutionResult, type GraphQLFormattedError, print } from 'graphql';
import { createClient as createSseClient, NetworkError } from 'graphql-sse';
import { createClient as createSocketClient } from 'graphql-ws';

import type { HttpPeer } from '../http-peer.ts';

/** Received results of a subscription. */
export interface Watch<Data> {
  results: FormattedExecutionResult<Data>[];
  /** How it ended: the errors when it was refused or failed. */
  end: { errors: readonly GraphQLFormattedError[] } | undefined;
  stop(): void;
}

/** A way to subscribe, with its usual client. */
export type Subscribe = <Data, Variables extends Record<string, unknown>>(
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
  token: string | undefined,
) => Watch<Data>;

interface Sink<Data> {
  next(value: FormattedExecutionResult<Data>): void;
  error(error: unknown): void;
  complete(): void;
}

function watchOf<Data>(start: (sink: Sink<Data>) => () => void): Watch<Data> {
  const watch: Watch<Data> = { results: [], end: undefined, stop: () => {} };
  watch.stop = start({
    next: (value) => {
      // When a stream has started, an error arrives as its last result.
      if (!value.data && value.errors) watch.end = { errors: value.errors };
      else watch.results.push(value);
    },
    error: async (error) => {
      watch.end = { errors: await errorsOf(error) };
    },
    complete: () => (watch.end ??= { errors: [] }),
  });
  return watch;
}

async function errorsOf(error: unknown): Promise<readonly GraphQLFormattedError[]> {
  if (Array.isArray(error)) return error as GraphQLFormattedError[];
  if (error instanceof NetworkError && error.response) {
    const body = await error.response.text();
    if (body.startsWith('{')) return (JSON.parse(body) as { errors: GraphQLFormattedError[] }).errors;
  }
  const { reason, message } = error as { reason?: string; message?: string };
  return [{ message: message ?? '', extensions: { error_code: reason } }];
}

export const overWebSocket =
  (url: () => string): Subscribe =>
  (document, variables, token) =>
    watchOf((sink) => {
      const client = createSocketClient({
        url: `${url().replace(/^http/, 'ws')}/graphql`,
        connectionParams: { token },
        retryAttempts: 0,
      });
      client.subscribe({ query: print(document), variables }, sink as never);
      return () => void client.dispose();
    });

export const overSse =
  (url: () => string): Subscribe =>
  (document, variables, token) =>
    watchOf((sink) => {
      const client = createSseClient({
        url: `${url()}/graphql`,
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
        retryAttempts: 0,
      });
      return client.subscribe({ query: print(document), variables }, sink as never);
    });

/** Like Apollo Router. `gateway` is the side that receives the callbacks. */
export const overCallback =
  (url: () => string, gateway: () => HttpPeer): Subscribe =>
  (document, variables, token) =>
    watchOf((sink) => {
      const id = randomUUID();
      const known = sinks.get(gateway()) ?? new Map<string, Sink<never>>();
      sinks.set(gateway(), known);
      known.set(id, sink as Sink<never>);
      gateway().onRequest = (request, response) => {
        const { id: about, action, payload, errors } = JSON.parse(request.body) as CallbackMessage;
        const target = known.get(about);
        response.writeHead(target ? 204 : 404, { 'subscription-protocol': 'callback/1.0' }).end();
        if (action === 'next') target?.next(payload as FormattedExecutionResult<never>);
        if (action !== 'complete') return;
        known.delete(about);
        if (errors) target?.error(errors);
        else target?.complete();
      };
      void fetch(`${url()}/graphql`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json;callbackSpec=1.0',
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
        body: JSON.stringify({
          query: print(document),
          variables,
          extensions: {
            subscription: {
              callbackUrl: `${gateway().url}/callback/${id}`,
              subscriptionId: id,
              verifier: `secret-${id}`,
              heartbeatIntervalMs: 1_000,
            },
          },
        }),
      })
        .then(async (response) => response.json() as Promise<FormattedExecutionResult>)
        .then(({ errors }) => errors && sink.error(errors), sink.error);
      return () => known.delete(id);
    });

interface CallbackMessage {
  id: string;
  action: 'check' | 'next' | 'complete';
  payload?: unknown;
  errors?: GraphQLFormattedError[];
}

const sinks = new WeakMap<HttpPeer, Map<string, Sink<never>>>();
