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

export function createHand(concurrency: number, tenantConcurrency: number): Hand {
  const held = new Set<ClaimedLog>();
  const byTenant = new Map<string, number>();
  const limits = new LRUCache<string, number>({ max: MAX_LIMITS });
  return {
    get free() {
      return concurrency - held.size;
    },
    defaultPlaces: tenantConcurrency,
    places: () =>
      new Map(
        [...limits.keys(), ...byTenant.keys()].map((tenantId) => [
          tenantId,
          Math.max(0, (limits.get(tenantId) ?? tenantConcurrency) - (byTenant.get(tenantId) ?? 0)),
        ]),
      ),
    limit: (tenantId, own) => {
      if (own === undefined) limits.delete(tenantId);
      else limits.set(tenantId, own);
      return Math.max(0, (byTenant.get(tenantId) ?? 0) - (own ?? tenantConcurrency));
    },
    take: (row) => {
      held.add(row);
      byTenant.set(row.tenantId, (byTenant.get(row.tenantId) ?? 0) + 1);
    },
    release: (row) => {
      if (!held.delete(row)) return;
      const left = (byTenant.get(row.tenantId) ?? 1) - 1;
      if (left > 0) byTenant.set(row.tenantId, left);
      else byTenant.delete(row.tenantId);
    },
    rows: () => held,
  };
}
