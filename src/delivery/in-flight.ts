import { LRUCache } from 'lru-cache';

import type { ClaimedLog } from './claim.ts';

/** What a dispatcher has in hand, and how much more it may take. */
export interface InFlight {
  /** Rows that may be claimed now, over all tenants. */
  readonly free: number;
  /** Rows that a tenant may have of which nothing is in hand and nothing special is known. */
  readonly defaultPlaces: number;
  /** How many more rows each tenant may have of which something is in hand, or whose limit is its own. */
  places(): ReadonlyMap<string, number>;
  /** Sets a tenant's own limit, as its settings say; undefined: the usual one. Gives back by how much it is exceeded. */
  limit(tenantId: string, concurrency: number | undefined): number;
  take(row: ClaimedLog): void;
  release(row: ClaimedLog): void;
  rows(): Iterable<ClaimedLog>;
}

/** Tenants whose own limits are remembered. Of one that is forgotten too much is claimed once, and put back. */
const MAX_LIMITS = 1_000;

/** What a tenant may have in hand at first. */
const FIRST_WINDOW = 100;
/** How long a window is remembered after the last delivery that came to its end. Milliseconds. */
const WINDOW_TTL_MS = 10_000;

/**
 * A tenant of which nothing came to its end lately starts with a small window, which grows with each delivery that comes to its end:
 * who is fast soon has all that a tenant may have, and who waits for a relay that does not answer never does.
 */
export function createInFlight(concurrency: number, tenantConcurrency: number): InFlight {
  const held = new Set<ClaimedLog>();
  /** Only of tenants of which something is in hand, so that it stays small. */
  const inHand = new Map<string, number>();
  // Apart from what is in hand: a whole batch may end at once, and the next one is to find the window that it earned.
  const windows = new LRUCache<string, number>({ max: MAX_LIMITS, ttl: WINDOW_TTL_MS });
  const limits = new LRUCache<string, number>({ max: MAX_LIMITS });
  const firstWindow = Math.min(FIRST_WINDOW, tenantConcurrency);
  const windowOf = (tenantId: string): number => windows.get(tenantId) ?? firstWindow;
  return {
    get free() {
      return concurrency - held.size;
    },
    defaultPlaces: firstWindow,
    places: () =>
      new Map(
        [...limits.keys(), ...windows.keys(), ...inHand.keys()].map((tenantId) => {
          const window = windowOf(tenantId);
          const places = Math.min(limits.get(tenantId) ?? window, window) - (inHand.get(tenantId) ?? 0);
          return [tenantId, Math.max(0, places)];
        }),
      ),
    limit: (tenantId, own) => {
      if (own === undefined) limits.delete(tenantId);
      else limits.set(tenantId, own);
      return Math.max(0, (inHand.get(tenantId) ?? 0) - (own ?? tenantConcurrency));
    },
    take: (row) => {
      held.add(row);
      inHand.set(row.tenantId, (inHand.get(row.tenantId) ?? 0) + 1);
    },
    release: (row) => {
      if (!held.delete(row)) return;
      const left = (inHand.get(row.tenantId) ?? 1) - 1;
      if (left > 0) inHand.set(row.tenantId, left);
      else inHand.delete(row.tenantId);
      windows.set(row.tenantId, Math.min(tenantConcurrency, windowOf(row.tenantId) + 1));
    },
    rows: () => held,
  };
}
