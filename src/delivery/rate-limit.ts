import type { Database } from '../database/database.ts';
import type { Limits } from '../tenants/policies.ts';
import type { Delivery } from './deliver.ts';
import { drawTokens, type RateRequest, slotsOf } from './token-bucket.ts';

export interface RateLimited {
  ready: Delivery[];
  /** Deliveries over the rate, to be retried after `afterMs` milliseconds. */
  late: { delivery: Delivery; afterMs: number }[];
}

/**
 * Splits a batch by the rate limits of its providers and then of its tenants. Runs no statement if no rate is set.
 */
export async function limitRates(database: Database, deliveries: Delivery[]): Promise<RateLimited> {
  const byProvider = await limit(database, deliveries, ({ plan }) => ({
    key: `${plan.channel}/${plan.provider.name}`,
    limits: plan.provider.limits,
  }));
  const byTenant = await limit(database, byProvider.ready, ({ settings }) => ({ key: '', limits: settings.limits }));
  return { ready: byTenant.ready, late: [...byProvider.late, ...byTenant.late] };
}

async function limit(
  database: Database,
  deliveries: Delivery[],
  bucketOf: (delivery: Delivery) => { key: string; limits: Limits | undefined },
): Promise<RateLimited> {
  const ready: Delivery[] = [];
  const buckets = new Map<string, { request: RateRequest; deliveries: Delivery[] }>();
  for (const delivery of deliveries) {
    const { key, limits } = bucketOf(delivery);
    if (limits?.ratePerSecond === undefined) {
      ready.push(delivery);
      continue;
    }
    const { tenantId } = delivery.log;
    const name = JSON.stringify([tenantId, key]);
    const bucket = buckets.get(name) ?? {
      request: { tenantId, key, wanted: 0, limits: { ...limits, ratePerSecond: limits.ratePerSecond } },
      deliveries: [],
    };
    bucket.request.wanted += 1;
    bucket.deliveries.push(delivery);
    buckets.set(name, bucket);
  }
  const limited = [...buckets.values()];
  const grants = await drawTokens(
    database,
    limited.map(({ request }) => request),
  );
  const late = grants.flatMap((grant, index) => {
    const { deliveries: inBucket } = limited[index] as (typeof limited)[number];
    const slots = slotsOf(grant, inBucket.length);
    return inBucket.flatMap((delivery, nth) => {
      const afterMs = slots[nth];
      if (afterMs === undefined) ready.push(delivery);
      return afterMs === undefined ? [] : [{ delivery, afterMs }];
    });
  });
  return { ready, late };
}
