import type { ExecutionResult } from 'graphql';

import { type HttpClient, isFailure, isSuccess } from '../../src/channels/http-client.ts';
import { AppError, validationFailed } from '../../src/errors.ts';
import { newId } from '../../src/ids.ts';
import { signedIn } from '../server/context.ts';
import { type LiveServices, admitClient } from './client-admission.ts';
import { type SharedExecution, subscribeShared } from './shared-execution.ts';

/** Callback of a gateway for one subscription. */
export interface Callback {
  url: string;
  /** The gateway's id of the subscription. */
  id: string;
  /** Authenticates our calls to the gateway. */
  verifier: string;
  /** Time after which the gateway drops a subscription without a heartbeat, in milliseconds; 0 for no heartbeat. */
  heartbeatMs: number;
}

export interface CallbackOptions {
  live: LiveServices;
  http: HttpClient;
  /** Allowed prefixes of callback URLs. */
  allowed: readonly string[];
}

export const CALLBACK_PROTOCOL = 'callback/1.0';

const DEFAULT_HEARTBEAT_MS = 5_000;
const MIN_HEARTBEAT_MS = 1_000;
/** Upper bound of the heartbeat interval. More frequent heartbeats are allowed, and timers are limited to 24 days. */
const MAX_HEARTBEAT_MS = 600_000;
const TIMEOUT_MS = 10_000;
/** Maximum number of attempts of one call. After that the subscription ends. */
const TRIES = 5;
const FIRST_DELAY_MS = 100;
/** Maximum length of id and verifier, in characters. */
const MAX_TEXT = 1_024;

/**
 * Reads `extensions.subscription` of a request.
 *
 * @returns undefined when the request has none.
 * @throws `validation_failed`, also for a URL that the operator has not allowed, because the server will call it.
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
  if (!isText(id)) throw refuse('subscriptionId', `must be a string of 1 to ${MAX_TEXT} characters`);
  if (!isText(verifier)) throw refuse('verifier', `must be a string of 1 to ${MAX_TEXT} characters`);
  if (!isInterval) throw refuse('heartbeatIntervalMs', 'must be a whole number of milliseconds');
  if (!allowed.some((prefix) => isWithin(url, prefix))) {
    throw refuse('callbackUrl', 'is not allowed. The operator sets allowed URLs in CALLBACK_URLS');
  }
  const heartbeatMs = Math.min(Math.max(heartbeat, MIN_HEARTBEAT_MS), MAX_HEARTBEAT_MS);
  return { url, id, verifier, heartbeatMs: heartbeat === 0 ? 0 : heartbeatMs };
}

/** Encoded separators. Some servers decode them before they resolve a path, others do not. */
const HIDDEN_SEPARATOR = /%2f|%5c/i;

/**
 * Returns whether a URL has the same origin as `prefix` and the same or a deeper path. Compares parsed URLs, not texts.
 */
function isWithin(url: string, prefix: string): boolean {
  const [wanted, base] = [new URL(url), new URL(prefix)];
  const folder = base.pathname.endsWith('/') ? base.pathname : `${base.pathname}/`;
  const isBelow =
    (wanted.pathname === base.pathname || wanted.pathname.startsWith(folder)) &&
    !HIDDEN_SEPARATOR.test(wanted.pathname);
  return wanted.origin === base.origin && isBelow && wanted.username === '' && wanted.password === '';
}

/**
 * Starts a subscription whose events are sent to a gateway by HTTP callbacks, so that it does not keep a connection
 * open.
 *
 * @returns undefined when the subscription has started, else its errors.
 * @throws `rate_limited`, or `validation_failed` when the gateway does not know the subscription.
 * @see https://www.apollographql.com/docs/graphos/routing/operations/subscriptions/callback-protocol
 */
export async function subscribeWithCallback(
  args: SharedExecution,
  callback: Callback,
  { live, http }: Pick<CallbackOptions, 'live' | 'http'>,
): Promise<ExecutionResult | undefined> {
  const { contextValue: context } = args;
  const { admission, limits } = live;
  if (admission.isFull)
    throw new AppError('rate_limited', 'The server has reached its limit of open connections. Try again later.');

  const gateway = createCaller(callback, http);
  const outbox = createOutbox(limits.bufferBytes, async (payload) => {
    if (!(await gateway.call('next', `,"payload":${payload.toString()}`))) leave();
  });
  /** Functions that stop new events. `endings` release the rest after the gateway has received `complete`. */
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
  /** Stops new events and sends `complete` after all waiting events. */
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
        { path: 'extensions.subscription.callbackUrl', message: 'did not confirm the subscription' },
      ]);
    }
    const subscription = await subscribeShared(args, outbox, live);
    if (!(Symbol.asyncIterator in subscription)) {
      leave();
      return subscription;
    }
    sources.push(() => void subscription.return(), live.endOnClose(finish));
    if (callback.heartbeatMs > 0) sources.push(keepAlive(gateway, callback.heartbeatMs, leave));
    // The token may have expired meanwhile, before these sources were registered.
    if (isEnding) stop();
    subscription.next().then(() => finish(), finish);
    return undefined;
  } catch (error) {
    leave();
    throw error;
  }
}

/**
 * Sends heartbeats twice per interval, because a heartbeat at the end of the interval could arrive too late.
 *
 * @returns a function that stops it.
 */
function keepAlive(gateway: Caller, heartbeatMs: number, onUnknown: () => void): () => void {
  let isAsking = false;
  const beat = setInterval(async () => {
    // Skips a heartbeat while the previous one is running.
    if (isAsking) return;
    isAsking = true;
    if (!(await gateway.call('check'))) onUnknown();
    isAsking = false;
  }, heartbeatMs / 2).unref();
  return () => clearInterval(beat);
}

interface Caller {
  /** Calls the gateway. @returns false when it does not know the subscription any more or is unavailable. */
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
        // Errors below 500 are not retried.
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

/**
 * Creates a queue that sends payloads one after another. While it is full, further events are dropped and read later.
 */
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
