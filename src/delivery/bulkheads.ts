import { LRUCache } from 'lru-cache';

import type { SendResult } from '../channels/send-result.ts';
import { createSemaphore, type Semaphore } from '../channels/semaphore.ts';
import type { Channel } from '../intake/channel.ts';
import { admit, afterResult, type Circuit, type CircuitPolicy, CLOSED, DEFAULT_CIRCUIT } from './circuit-breaker.ts';

/** One provider of one tenant. */
export interface LaneKey {
  tenantId: string;
  channel: Channel;
  provider: string;
}

interface Lane {
  key: LaneKey;
  gate: Semaphore;
  concurrency: number;
  circuit: Circuit;
  /** The provider asked not to be called before. Milliseconds since the epoch. */
  pausedUntil: number;
}

export interface Bulkheads {
  /** When a provider may be tried again; undefined where it may be now. */
  blockedUntil(key: LaneKey): Date | undefined;
  /**
   * Calls a provider once a place is free. Undefined where its circuit opened while the message waited, or the bulkheads
   * were closed: the provider was not called.
   */
  run(key: LaneKey, concurrency: number, send: () => Promise<SendResult>): Promise<SendResult | undefined>;
  /** From now on nobody is called: what waits for a place is sent back, and what is in hand comes to its end. */
  close(): void;
}

export interface LanesOptions {
  policy?: CircuitPolicy;
  /** Called when a circuit changes its state. */
  onChange?: (key: LaneKey, circuit: Circuit) => void;
}

/** Bulkheads that are remembered. One that is forgotten starts closed, which costs a few calls. */
const MAX_LANES = 10_000;
/** A provider that asks for a longer pause is tried again after this. Milliseconds. */
const MAX_PAUSE_MS = 10 * 60_000;

/**
 * Keeps each provider of each tenant to itself: what is slow or broken in one lane holds up nothing in another. The
 * state is of this process, and each process finds out for itself.
 */
export function createBulkheads({ policy = DEFAULT_CIRCUIT, onChange }: LanesOptions = {}): Bulkheads {
  const bulkheads = new LRUCache<string, Lane>({ max: MAX_LANES });
  let isClosed = false;

  const laneOf = (key: LaneKey, concurrency: number): Lane => {
    const name = nameOf(key);
    const known = bulkheads.get(name);
    // A lane whose bound was changed starts anew; what is in hand ends in the old one.
    if (known?.concurrency === concurrency) return known;
    const { circuit = CLOSED, pausedUntil = 0 } = known ?? {};
    const lane = { key, gate: createSemaphore(concurrency), concurrency, circuit, pausedUntil };
    bulkheads.set(name, lane);
    return lane;
  };
  const change = (lane: Lane, circuit: Circuit): void => {
    const isNews = circuit.state !== lane.circuit.state;
    lane.circuit = circuit;
    if (isNews) onChange?.(lane.key, circuit);
  };

  return {
    blockedUntil: (key) => {
      const lane = bulkheads.get(nameOf(key));
      if (!lane) return undefined;
      const now = Date.now();
      const { state, retryAt } = lane.circuit;
      // Of a trial nobody knows yet how it ends: the others look again soon.
      const circuitUntil = state === 'closed' ? 0 : state === 'half_open' ? now + 1_000 : retryAt;
      const until = Math.max(circuitUntil, lane.pausedUntil);
      return until > now ? new Date(until) : undefined;
    },
    run: async (key, concurrency, send) => {
      const lane = laneOf(key, concurrency);
      await lane.gate.enter();
      try {
        const { circuit, isAdmitted } = admit(lane.circuit, Date.now());
        if (!isAdmitted || isClosed) return undefined;
        change(lane, circuit);
        const result = await send();
        const isBlamed = result.outcome !== 'ok' && result.blames === 'provider';
        if (isBlamed && result.retryAfterMs !== undefined) {
          // Too many at once is no outage: it is a pause.
          lane.pausedUntil = Date.now() + Math.min(result.retryAfterMs, MAX_PAUSE_MS);
          change(lane, lane.circuit.state === 'half_open' ? CLOSED : lane.circuit);
        } else {
          change(lane, afterResult(lane.circuit, isBlamed, Date.now(), policy));
        }
        return result;
      } finally {
        lane.gate.leave();
      }
    },
    close: () => {
      isClosed = true;
      for (const { gate } of bulkheads.values()) gate.open();
    },
  };
}

const nameOf = ({ tenantId, channel, provider }: LaneKey): string => JSON.stringify([tenantId, channel, provider]);
