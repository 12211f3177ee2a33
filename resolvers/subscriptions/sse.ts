import { once } from 'node:events';
import type { ServerResponse } from 'node:http';

import type { ExecutionResult } from 'graphql';

import { AppError } from '../../src/errors.ts';
import { newId } from '../../src/ids.ts';
import { signedIn } from '../server/context.ts';
import { type LiveServices, admitClient } from './client-admission.ts';
import { type SharedExecution, subscribeShared } from './shared-execution.ts';

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  // Disables buffering in nginx and other proxies, which would delay events.
  'x-accel-buffering': 'no',
};
const PING = Buffer.from(':\n\n');
const NEXT = Buffer.from('event: next\ndata: ');
const END = Buffer.from('\n\n');
const COMPLETE = Buffer.from('event: complete\ndata:\n\n');
/** Maximum time for a client to read the rest of an ended stream, in milliseconds. */
const END_TIMEOUT_MS = 3_000;

export interface SseOptions {
  live: LiveServices;
  /** Additional headers of the response. */
  headers: Record<string, string>;
}

/**
 * Runs a subscription as server-sent events in the "distinct connections mode" of GraphQL over SSE: `next` for each
 * result, then `complete`.
 *
 * @param response must not have been used before.
 * @returns undefined when the subscription has started; else its errors, and nothing has been written.
 * @throws `rate_limited`
 * @see https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md
 */
export async function subscribeOverSse(
  response: ServerResponse,
  args: SharedExecution,
  { live, headers }: SseOptions,
): Promise<ExecutionResult | undefined> {
  const { contextValue: context } = args;
  const { limits, admission } = live;
  if (admission.isFull)
    throw new AppError('rate_limited', 'The server has reached its limit of open connections. Try again later.');

  const end = (last?: Buffer): void => {
    // Releases resources now. The client may take longer to read the rest.
    leave();
    const timer = setTimeout(() => response.destroy(), END_TIMEOUT_MS).unref();
    response.once('close', () => clearTimeout(timer));
    response.end(last);
  };
  const writeError = (error: unknown): void => {
    const errors = [live.formatError(error, context.traceId)];
    for (const part of eventOf(Buffer.from(JSON.stringify({ errors })))) response.write(part);
  };
  const finish = (error?: unknown): void => {
    if (response.writableEnded || response.destroyed) return;
    begin();
    if (error !== undefined) writeError(error);
    end(COMPLETE);
  };
  const begin = (): void => {
    if (response.headersSent) return;
    response.writeHead(200, { ...headers, ...HEADERS });
    // Some browsers do not report the response before the first byte of the body.
    response.write(PING);
  };

  const endings = [admission.enter()];
  const leave = (): void => {
    for (const end of endings.splice(0)) end();
  };
  response.once('close', leave);
  try {
    endings.push(
      admitClient(live, { id: context.clientId ?? newId(), actor: signedIn(context), transport: 'sse', onEnd: finish }),
    );
    const subscription = await subscribeShared(
      args,
      {
        write: (payloads) => {
          if (response.writableEnded) return;
          begin();
          for (const part of payloads.flatMap(eventOf)) response.write(part);
        },
        // Full only when a `drain` event will follow.
        isFull: () => response.writableNeedDrain && response.writableLength > limits.bufferBytes,
        drained: () => drained(response),
      },
      live,
    );
    if (!(Symbol.asyncIterator in subscription)) {
      leave();
      return subscription;
    }
    begin();
    endings.push(() => void subscription.return());
    const stop = (reason: AppError): void => {
      // Without `complete` a client reconnects. A gateway treats every end as complete, so it gets the reason as an
      // error.
      if (!response.writableEnded) writeError(reason);
      end();
    };
    endings.push(live.endOnClose(stop));
    const ping = setInterval(() => {
      if (!response.writableNeedDrain) response.write(PING);
    }, limits.pingMs).unref();
    endings.push(() => clearInterval(ping));
    // The client may have disconnected, or its token expired, before these endings were registered.
    if (response.destroyed || response.writableEnded) leave();
    subscription.next().then(() => finish(), finish);
    return undefined;
  } catch (error) {
    leave();
    throw error;
  }
}

/** Sends the JSON result of a query or mutation as one `next` event, then `complete`. */
export function sendOverSse(response: ServerResponse, result: string, headers: Record<string, string>): void {
  response.writeHead(200, { ...headers, ...HEADERS });
  for (const part of eventOf(Buffer.from(result))) response.write(part);
  response.end(COMPLETE);
}

/** Serialized JSON contains no line breaks, so it is one `data` line. */
const eventOf = (payload: Buffer): Buffer[] => [NEXT, payload, END];

async function drained(response: ServerResponse): Promise<void> {
  if (response.destroyed || !response.writableNeedDrain) return;
  const stop = new AbortController();
  const { signal } = stop;
  await Promise.race([once(response, 'drain', { signal }), once(response, 'close', { signal })]).finally(() =>
    stop.abort(),
  );
}
