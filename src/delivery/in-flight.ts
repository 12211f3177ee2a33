import { LRUCache } from 'lru-cache';

import type { ClaimedLog } from './claim.ts';

/** The deliveries that a dispatcher is processing, and its remaining capacity. */
export interface InFlight {
  /** Number of rows that may be claimed now, over all tenants. */
  readonly free: number;
  /** Capacity of each tenant that `capacity` does not list. */
  readonly defaultCapacity: number;
  /**
   * Returns the number of rows that may be claimed for each tenant whose capacity is not the default: it has deliveries
   * in flight, a grown window or its own limit.
   */
  capacity(): ReadonlyMap<string, number>;
  /**
   * Sets the limit of a tenant; undefined restores the default. @returns the number of rows in flight above the limit.
   */
  limit(tenantId: string, concurrency: number | undefined): number;
  add(row: ClaimedLog): void;
  release(row: ClaimedLog): void;
  rows(): Iterable<ClaimedLog>;
}

/**
 * Maximum number of tenants with limits or windows in memory. One claim may exceed the limit of an evicted tenant; the
 * excess is put back.
 */
const MAX_LIMITS = 1_000;

/** Number of deliveries that a tenant may initially have in flight. */
const FIRST_WINDOW = 100;
/** Time after the last finished delivery until a window is reset, in milliseconds. */
const WINDOW_TTL_MS = 10_000;

/**
 * Limits the deliveries in flight, in total and per tenant. A tenant starts with a small window that grows by one with
 * each finished delivery. A tenant with a fast provider soon reaches `tenantConcurrency`, while a tenant whose provider does
 * not answer keeps the small window.
 */
export function createInFlight(concurrency: number, tenantConcurrency: number): InFlight {
  const held = new Set<ClaimedLog>();
  /** Number of deliveries in flight per tenant. Has no zero entries, so that it stays small. */
  const counts = new Map<string, number>();
  // Separate from `counts`: the window must survive the moment in which a whole batch finishes and the count is zero.
  const windows = new LRUCache<string, number>({ max: MAX_LIMITS, ttl: WINDOW_TTL_MS });
  const limits = new LRUCache<string, number>({ max: MAX_LIMITS });
  const firstWindow = Math.min(FIRST_WINDOW, tenantConcurrency);
  const windowOf = (tenantId: string): number => windows.get(tenantId) ?? firstWindow;
  return {
    get free() {
      return concurrency - held.size;
    },
    defaultCapacity: firstWindow,
    capacity: () =>
      new Map(
        [...limits.keys(), ...windows.keys(), ...counts.keys()].map((tenantId) => {
          const window = windowOf(tenantId);
          const capacity = Math.min(limits.get(tenantId) ?? window, window) - (counts.get(tenantId) ?? 0);
          return [tenantId, Math.max(0, capacity)];
        }),
      ),
    limit: (tenantId, own) => {
      if (own === undefined) limits.delete(tenantId);
      else limits.set(tenantId, own);
      return Math.max(0, (counts.get(tenantId) ?? 0) - (own ?? tenantConcurrency));
    },
    add: (row) => {
      held.add(row);
      counts.set(row.tenantId, (counts.get(row.tenantId) ?? 0) + 1);
    },
    release: (row) => {
      if (!held.delete(row)) return;
      const left = (counts.get(row.tenantId) ?? 1) - 1;
      if (left > 0) counts.set(row.tenantId, left);
      else counts.delete(row.tenantId);
      windows.set(row.tenantId, Math.min(tenantConcurrency, windowOf(row.tenantId) + 1));
    },
    rows: () => held,
  };
}
