import { LRUCache } from 'lru-cache';

import type { SendResult } from '../channels/send-result.ts';
import { createSemaphore, type Semaphore } from '../channels/semaphore.ts';
import type { Channel } from '../intake/channel.ts';
import { admit, afterResult, type Circuit, type CircuitPolicy, CLOSED, DEFAULT_CIRCUIT } from './circuit-breaker.ts';

/** One provider of one tenant. */
export interface ProviderKey {
  tenantId: string;
  channel: Channel;
  provider: string;
}

interface Bulkhead {
  key: ProviderKey;
  semaphore: Semaphore;
  concurrency: number;
  circuit: Circuit;
  /** End of the pause that the provider asked for (`Retry-After`), in milliseconds since the epoch. */
  pausedUntil: number;
}

export interface ProviderCall {
  /** Records that the call begins. Returns false if the message belongs to another process by now. */
  begin: () => Promise<boolean>;
  send: () => Promise<SendResult>;
}

export type CallOutcome =
  | { kind: 'called'; result: SendResult }
  /** Not called, because the circuit opened or the bulkheads were closed while the message waited. */
  | { kind: 'blocked' }
  /** Not called, because `begin` returned false. */
  | { kind: 'lost' };

export interface Bulkheads {
  /** Returns the time until which a provider must not be called; undefined if it may be called now. */
  blockedUntil(key: ProviderKey): Date | undefined;
  /** Calls a provider as soon as its concurrency limit allows. */
  run(key: ProviderKey, concurrency: number, call: ProviderCall): Promise<CallOutcome>;
  /** Stops all new calls: waiting messages return undefined, and calls in flight finish. */
  close(): void;
}

export interface BulkheadsOptions {
  policy?: CircuitPolicy;
  /** Called when a circuit changes its state. */
  onChange?: (key: ProviderKey, circuit: Circuit) => void;
}

/** Maximum number of bulkheads in memory. An evicted one restarts with a closed circuit, which costs a few failed calls. */
const MAX_BULKHEADS = 10_000;
/** Maximum pause that a provider can ask for, in milliseconds. */
const MAX_PAUSE_MS = 10 * 60_000;

/**
 * Gives each provider of each tenant its own concurrency limit and circuit breaker, so that a slow or broken provider does
 * not delay the others. The state is local to this process.
 */
export function createBulkheads({ policy = DEFAULT_CIRCUIT, onChange }: BulkheadsOptions = {}): Bulkheads {
  const bulkheads = new LRUCache<string, Bulkhead>({ max: MAX_BULKHEADS });
  let isClosed = false;

  const findOrCreate = (key: ProviderKey, concurrency: number): Bulkhead => {
    const name = cacheKey(key);
    const known = bulkheads.get(name);
    // A changed limit creates a new bulkhead; calls in flight finish in the old one.
    if (known?.concurrency === concurrency) return known;
    const { circuit = CLOSED, pausedUntil = 0 } = known ?? {};
    const bulkhead = { key, semaphore: createSemaphore(concurrency), concurrency, circuit, pausedUntil };
    bulkheads.set(name, bulkhead);
    return bulkhead;
  };
  const change = (bulkhead: Bulkhead, circuit: Circuit): void => {
    const hasStateChanged = circuit.state !== bulkhead.circuit.state;
    bulkhead.circuit = circuit;
    if (hasStateChanged) onChange?.(bulkhead.key, circuit);
  };

  return {
    blockedUntil: (key) => {
      const bulkhead = bulkheads.get(cacheKey(key));
      if (!bulkhead) return undefined;
      const now = Date.now();
      const { state, retryAt } = bulkhead.circuit;
      // The trial call has not finished: check again in a second.
      const circuitUntil = state === 'closed' ? 0 : state === 'half_open' ? now + 1_000 : retryAt;
      const until = Math.max(circuitUntil, bulkhead.pausedUntil);
      return until > now ? new Date(until) : undefined;
    },
    run: async (key, concurrency, { begin, send }) => {
      const bulkhead = findOrCreate(key, concurrency);
      await bulkhead.semaphore.acquire();
      try {
        const isBlocked = (): boolean => isClosed || !admit(bulkhead.circuit, Date.now()).isAdmitted;
        if (isBlocked()) return { kind: 'blocked' };
        if (!(await begin())) return { kind: 'lost' };
        if (isBlocked()) return { kind: 'blocked' };
        change(bulkhead, admit(bulkhead.circuit, Date.now()).circuit);
        const result = await send();
        const isBlamed = result.outcome !== 'ok' && result.blames === 'provider';
        if (isBlamed && result.retryAfterMs !== undefined) {
          // Rate limiting is not an outage, so it pauses the provider and does not count as a failure.
          bulkhead.pausedUntil = Date.now() + Math.min(result.retryAfterMs, MAX_PAUSE_MS);
          change(bulkhead, bulkhead.circuit.state === 'half_open' ? CLOSED : bulkhead.circuit);
        } else {
          change(bulkhead, afterResult(bulkhead.circuit, isBlamed, Date.now(), policy));
        }
        return { kind: 'called', result };
      } finally {
        bulkhead.semaphore.release();
      }
    },
    close: () => {
      isClosed = true;
      for (const { semaphore } of bulkheads.values()) semaphore.open();
    },
  };
}

const cacheKey = ({ tenantId, channel, provider }: ProviderKey): string =>
  JSON.stringify([tenantId, channel, provider]);
