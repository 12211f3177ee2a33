import { LRUCache } from 'lru-cache';

import type { ClaimedLog } from './claim.ts';

/** What a dispatcher has in hand, and how much more it may take. */
export interface Hand {
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

/**
 * A tenant of which nothing is in hand starts with a small window, which grows with each delivery that comes to its end:
 * who is fast soon has all that a tenant may have, and who waits for a relay that does not answer never does.
 */
export function createHand(concurrency: number, tenantConcurrency: number): Hand {
  const held = new Set<ClaimedLog>();
  /** Only of tenants of which something is in hand, so that it stays small. */
  const tenants = new Map<string, { inHand: number; window: number }>();
  const limits = new LRUCache<string, number>({ max: MAX_LIMITS });
  const firstWindow = Math.min(FIRST_WINDOW, tenantConcurrency);
  return {
    get free() {
      return concurrency - held.size;
    },
    defaultPlaces: firstWindow,
    places: () =>
      new Map(
        [...limits.keys(), ...tenants.keys()].map((tenantId) => {
          const { inHand = 0, window = firstWindow } = tenants.get(tenantId) ?? {};
          return [tenantId, Math.max(0, Math.min(limits.get(tenantId) ?? window, window) - inHand)];
        }),
      ),
    limit: (tenantId, own) => {
      if (own === undefined) limits.delete(tenantId);
      else limits.set(tenantId, own);
      return Math.max(0, (tenants.get(tenantId)?.inHand ?? 0) - (own ?? tenantConcurrency));
    },
    take: (row) => {
      held.add(row);
      const tenant = tenants.get(row.tenantId) ?? { inHand: 0, window: firstWindow };
      tenant.inHand += 1;
      tenants.set(row.tenantId, tenant);
    },
    release: (row) => {
      const tenant = tenants.get(row.tenantId);
      if (!held.delete(row) || !tenant) return;
      tenant.inHand -= 1;
      tenant.window = Math.min(tenantConcurrency, tenant.window + 1);
      if (tenant.inHand === 0) tenants.delete(row.tenantId);
    },
    rows: () => held,
  };
}
