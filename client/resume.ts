import type { Client, FormattedExecutionResult } from 'graphql-ws/client';

import { backoff } from './backoff.ts';
import { isFinal, toError } from './failures.ts';

export interface ResumeOptions<Data> {
  /** A subscription with a variable `$after`. */
  query: string;
  variables?: Record<string, unknown>;
  /** Cursor of the newest item that the caller already has. Without it, the results start with the next change. */
  after?: string | null;
  /** Returns the cursor of a result. After an interruption, the subscription continues after this cursor. */
  cursorOf: (data: Data) => string | null | undefined;
}

/**
 * Returns the results of a subscription. After an interruption it subscribes again after the last cursor, with a delay
 * that increases until a result arrives. The results end on `return()` (a `break` in `for await`) and when the client is
 * disposed of. They throw a `StreamError` or `SealError` for an error that another attempt cannot solve.
 */
export function resume<Data = Record<string, unknown>>(
  client: Client,
  { query, variables, after = null, cursorOf }: ResumeOptions<Data>,
): AsyncIterableIterator<FormattedExecutionResult<Data>> {
  type Result = FormattedExecutionResult<Data>;
  // graphql-ws serializes the variables again for each connection, so a reconnect sends the latest cursor.
  const current: Record<string, unknown> = { ...variables, after };
  const results: Result[] = [];
  let failure: Error | undefined;
  let isOver = false;
  let wakeUp: (() => void) | undefined;
  let attempt = 0;
  let waiting: ReturnType<typeof setTimeout> | undefined;
  let leave = (): void => {};
  let isDisposed = false;

  // Code 1000 on a connection in use means that the application disposed of the client.
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
    // Needed after a failure too: the client counts the users of its connection, and only this call removes one.
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
        // Subscriptions complete when the server shuts down, and also when the client is disposed of.
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
