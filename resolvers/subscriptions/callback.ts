import type { ExecutionResult } from 'graphql';

import { type HttpClient, isFailure, isSuccess } from '../../src/channels/http-client.ts';
import { AppError, validationFailed } from '../../src/errors.ts';
import { newId } from '../../src/ids.ts';
import { signedIn } from '../server/context.ts';
import { type LiveServices, admitClient } from './client-admission.ts';
import { type SharedExecution, subscribeShared } from './shared-execution.ts';

/** Where a gateway wants to be told what a subscription gives. */
export interface Callback {
  url: string;
  /** The gateway's own id of the subscription. */
  id: string;
  /** Proves to the gateway that it is we who call. */
  verifier: string;
  /** It gives up a subscription that it has not heard of for so long; 0: never. Milliseconds. */
  heartbeatMs: number;
}

export interface CallbackOptions {
  live: LiveServices;
  http: HttpClient;
  /** Beginnings of the URLs that may be called. */
  allowed: readonly string[];
}

export const CALLBACK_PROTOCOL = 'callback/1.0';

const DEFAULT_HEARTBEAT_MS = 5_000;
const MIN_HEARTBEAT_MS = 1_000;
/** More often than it is asked for does no harm, and a timer takes no more than 24 days. */
const MAX_HEARTBEAT_MS = 600_000;
const TIMEOUT_MS = 10_000;
/** Tries of one call before the gateway is given up. */
const TRIES = 5;
const FIRST_DELAY_MS = 100;
/** Longest id and verifier, in characters. */
const MAX_TEXT = 1_024;

/**
 * Reads `extensions.subscription` of a request.
 *
 * @returns undefined where it has none.
 * @throws `validation_failed`, also for a URL that the operator did not allow: it makes this process call it.
 */
export function callbackIn(
  extensions: Record<string, unknown> | null | undefined,
  allowed: readonly string[],
): Callback | undefined {
  const given = extensions?.['subscription'];
  if (given === undefined || given === null) return undefined;
  const read = (name: string, other: string): unknown => {
    const values = given as Record<string, unknown>;
    return values[name] ?? values[other];
  };
  const [url, id, verifier, heartbeat = DEFAULT_HEARTBEAT_MS] = [
    read('callbackUrl', 'callback_url'),
    read('subscriptionId', 'subscription_id'),
    read('verifier', 'verifier'),
    read('heartbeatIntervalMs', 'heartbeat_interval_ms'),
  ];
  const isText = (value: unknown): value is string =>
    typeof value === 'string' && value !== '' && value.length <= MAX_TEXT;
  const isInterval = typeof heartbeat === 'number' && Number.isInteger(heartbeat) && heartbeat >= 0;
  const refuse = (path: string, message: string): AppError =>
    validationFailed([{ path: `extensions.subscription.${path}`, message }]);
  if (!isText(url) || !URL.canParse(url)) throw refuse('callbackUrl', 'must be a URL');
  if (!isText(id)) throw refuse('subscriptionId', 'must be a text');
  if (!isText(verifier)) throw refuse('verifier', 'must be a text');
  if (!isInterval) throw refuse('heartbeatIntervalMs', 'must be milliseconds');
  if (!allowed.some((beginning) => isWithin(url, beginning))) {
    throw refuse('callbackUrl', 'is none that this service calls (CALLBACK_URLS)');
  }
  const heartbeatMs = Math.min(Math.max(heartbeat, MIN_HEARTBEAT_MS), MAX_HEARTBEAT_MS);
  return { url, id, verifier, heartbeatMs: heartbeat === 0 ? 0 : heartbeatMs };
}

/** Separators to whoever decodes a path before they look at it, and part of a name to everybody else. */
const HIDDEN_SEPARATOR = /%2f|%5c/i;

/** The same origin, and a path at or below. Compared as parsed: what only looks like the beginning is another host. */
function isWithin(url: string, beginning: string): boolean {
  const [wanted, base] = [new URL(url), new URL(beginning)];
  const folder = base.pathname.endsWith('/') ? base.pathname : `${base.pathname}/`;
  const isBelow =
    (wanted.pathname === base.pathname || wanted.pathname.startsWith(folder)) &&
    !HIDDEN_SEPARATOR.test(wanted.pathname);
  return wanted.origin === base.origin && isBelow && wanted.username === '' && wanted.password === '';
}

/**
 * Subscribes for a gateway that is called back over HTTP, so that it need not hold a connection open.
 *
 * @returns why there is no subscription; undefined when it has begun.
 * @throws `rate_limited`, or `validation_failed` where the gateway does not know of the subscription.
 * @see https://www.apollographql.com/docs/graphos/routing/operations/subscriptions/callback-protocol
 */
export async function subscribeWithCallback(
  args: SharedExecution,
  callback: Callback,
  { live, http }: Pick<CallbackOptions, 'live' | 'http'>,
): Promise<ExecutionResult | undefined> {
  const { contextValue: context } = args;
  const { admission, limits } = live;
  if (admission.isFull) throw new AppError('rate_limited', 'The server has reached its limit of open connections.');

  const gateway = createCaller(callback, http);
  const outbox = createOutbox(limits.bufferBytes, async (payload) => {
    if (!(await gateway.call('next', `,"payload":${payload.toString()}`))) leave();
  });
  /** What brings it more; and what it takes until the gateway knows that it is over. */
  const sources: (() => void)[] = [];
  const endings = [admission.enter(), () => outbox.close(), () => gateway.close()];
  let isEnding = false;
  const stop = (): void => {
    isEnding = true;
    for (const end of sources.splice(0)) end();
  };
  const leave = (): void => {
    stop();
    for (const end of endings.splice(0)) end();
  };
  /** Takes in nothing more, and says so once what was said before has arrived. */
  const finish = async (problem?: unknown): Promise<void> => {
    if (isEnding) return;
    stop();
    const errors =
      problem === undefined ? '' : `,"errors":${JSON.stringify([live.formatError(problem, context.traceId)])}`;
    await outbox.emptied();
    await gateway.call('complete', errors);
    leave();
  };

  try {
    endings.push(
      admitClient(live, {
        id: context.clientId ?? newId(),
        actor: signedIn(context),
        transport: 'callback',
        onEnd: (reason) => void finish(reason),
      }),
    );
    if (!(await gateway.call('check'))) {
      throw validationFailed([
        { path: 'extensions.subscription.callbackUrl', message: 'does not answer for the subscription' },
      ]);
    }
    const subscription = await subscribeShared(args, outbox, live);
    if (!(Symbol.asyncIterator in subscription)) {
      leave();
      return subscription;
    }
    sources.push(() => void subscription.return(), live.endOnClose(finish));
    if (callback.heartbeatMs > 0) sources.push(keepAlive(gateway, callback.heartbeatMs, leave));
    // The token may have run out meanwhile, and nobody would hear of it again.
    if (isEnding) stop();
    subscription.next().then(() => finish(), finish);
    return undefined;
  } catch (error) {
    leave();
    throw error;
  }
}

/**
 * Says that the subscription lives, twice in the time after which it would be given up: on time is too late for some.
 *
 * @returns a function that ends it.
 */
function keepAlive(gateway: Caller, heartbeatMs: number, onUnknown: () => void): () => void {
  let isAsking = false;
  const beat = setInterval(async () => {
    // A gateway that takes long is not to be asked more and more.
    if (isAsking) return;
    isAsking = true;
    if (!(await gateway.call('check'))) onUnknown();
    isAsking = false;
  }, heartbeatMs / 2).unref();
  return () => clearInterval(beat);
}

interface Caller {
  /** @returns false where the gateway does not know of the subscription any more, or cannot be reached. */
  call(action: 'check' | 'next' | 'complete', more?: string): Promise<boolean>;
  close(): void;
}

function createCaller({ url, id, verifier }: Callback, http: HttpClient): Caller {
  let isClosed = false;
  const head = JSON.stringify({ kind: 'subscription', id, verifier }).slice(0, -1);
  const headers = { 'content-type': 'application/json', 'subscription-protocol': CALLBACK_PROTOCOL };
  return {
    call: async (action, more = '') => {
      const body = `${head},"action":"${action}"${more}}`;
      for (let attempt = 1; !isClosed; attempt += 1) {
        const reply = await http.send(url, { headers, body }, { timeoutMs: TIMEOUT_MS, isTrusted: true });
        if (!isFailure(reply) && isSuccess(reply)) return true;
        // What a gateway refuses for a reason it refuses again.
        if (attempt === TRIES || (!isFailure(reply) && reply.status < 500)) return false;
        await new Promise((resolve) => setTimeout(resolve, FIRST_DELAY_MS * 2 ** attempt * Math.random()).unref());
      }
      return false;
    },
    close: () => {
      isClosed = true;
    },
  };
}

/** What is to be told, one after the other. Bounded: while it is full, its subscriber is read again later. */
function createOutbox(maxBytes: number, deliver: (payload: Buffer) => Promise<void>) {
  let queue: Buffer[] = [];
  let bytes = 0;
  let isRunning = false;
  let waiting: (() => void)[] = [];
  const run = async (): Promise<void> => {
    isRunning = true;
    for (let payload = queue.shift(); payload; payload = queue.shift()) {
      await deliver(payload);
      bytes -= payload.length;
    }
    isRunning = false;
    for (const resolve of waiting.splice(0)) resolve();
  };
  const emptied = (): Promise<void> =>
    isRunning ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve();
  return {
    write: (payloads: readonly Buffer[]): void => {
      for (const payload of payloads) bytes += payload.length;
      queue.push(...payloads);
      if (!isRunning) void run();
    },
    isFull: (): boolean => bytes > maxBytes,
    drained: emptied,
    emptied,
    close: (): void => {
      queue = [];
      bytes = 0;
    },
  };
}
