import type { Client, FormattedExecutionResult } from 'graphql-ws/client';

import { backoff } from './backoff.ts';
import { isFinal, toError } from './failures.ts';

export interface ResumeOptions<Data> {
  /** A subscription with a variable `$after`. */
  query: string;
  variables?: Record<string, unknown>;
  /** Where to begin: the cursor of the newest item that is known. Without one, with what happens from now on. */
  after?: string | null;
  /** The cursor of what came; the subscription goes on after it. */
  cursorOf: (data: Data) => string | null | undefined;
}

/**
 * The results of a subscription, across every interruption: it subscribes again after the last cursor, waiting longer
 * each time nothing comes. Ends on `return()` (a `break` in `for await`) and when the client is disposed; throws a
 * `StreamError` or `SealError` when going on is of no use.
 */
export function resume<Data = Record<string, unknown>>(
  client: Client,
  { query, variables, after = null, cursorOf }: ResumeOptions<Data>,
): AsyncIterableIterator<FormattedExecutionResult<Data>> {
  type Result = FormattedExecutionResult<Data>;
  // graphql-ws writes its variables anew at each connection of its own accord, so these are always the latest.
  const current: Record<string, unknown> = { ...variables, after };
  const results: Result[] = [];
  let failure: Error | undefined;
  let isOver = false;
  let wakeUp: (() => void) | undefined;
  let attempt = 0;
  let waiting: ReturnType<typeof setTimeout> | undefined;
  let leave = (): void => {};
  let isDisposed = false;

  // A connection that closes normally while it is in use is one that the application ended.
  const unlisten = [
    client.on('connecting', () => (isDisposed = false)),
    client.on('closed', (event) => (isDisposed = (event as { code?: unknown }).code === 1000)),
  ];

  const finish = (error?: Error): void => {
    if (isOver) return;
    isOver = true;
    failure = error;
    clearTimeout(waiting);
    for (const stop of unlisten) stop();
    // Also after a failure: the client counts who uses the connection, and only this takes us off.
    leave();
    wakeUp?.();
  };
  const take = (result: Result): void => {
    if (isOver) return;
    attempt = 0;
    try {
      if (result.data) current['after'] = cursorOf(result.data) ?? current['after'];
    } catch (error) {
      finish(toError(error));
      return;
    }
    results.push(result);
    wakeUp?.();
  };
  const again = (): void => {
    if (isOver) return;
    leave();
    waiting = setTimeout(start, backoff(attempt++));
  };
  const start = (): void => {
    leave = client.subscribe<Data>(
      { query, variables: current },
      {
        next: take,
        error: (error) => (isFinal(error) ? finish(toError(error)) : again()),
        // A server that shuts down completes what it has; what is disposed of is complete too.
        complete: () => (isDisposed ? finish() : again()),
      },
    );
  };
  start();

  const read = async (): Promise<IteratorResult<Result>> => {
    while (results.length === 0 && !isOver) await new Promise<void>((resolve) => (wakeUp = resolve));
    const result = results.shift();
    if (result) return { done: false, value: result };
    if (!failure) return { done: true, value: undefined };
    const error = failure;
    failure = undefined;
    throw error;
  };
  let reading: Promise<unknown> = Promise.resolve();
  return {
    next: () => {
      const next = reading.then(read, read);
      reading = next;
      return next;
    },
    return: async () => {
      results.length = 0;
      finish();
      return { done: true, value: undefined };
    },
    throw: async (error: unknown) => {
      finish();
      throw error;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
