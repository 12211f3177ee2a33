import type { Database } from '../database/database.ts';
import type { Limits } from '../tenants/policies.ts';

/** Messages that want to go through one bucket now. */
export interface RateRequest {
  tenantId: string;
  /** Empty for the tenant as a whole, else `channel/provider`. */
  key: string;
  wanted: number;
  limits: Limits & { ratePerSecond: number };
}

export interface RateGrant {
  /** How many may go now. */
  granted: number;
  /** When those over the rate are to come again: the first after so long, then one each interval. Milliseconds. */
  firstSlotMs: number;
  intervalMs: number;
}

const TAKE_PLACE = `
  insert into delivery_rate as bucket (tenant_id, key, tokens, refilled_at, next_slot_at)
  select tenant_id, key, burst, now(), now()
  from jsonb_to_recordset($1::jsonb) as request (tenant_id text, key text, burst float8)
  order by tenant_id, key
  on conflict (tenant_id, key) do update set tokens = bucket.tokens`;

const DRAW = `
  update delivery_rate bucket
  set tokens = now_there.tokens - now_there.granted, granted = now_there.granted, refilled_at = now(),
      next_slot_at = now_there.slot + (request.wanted - now_there.granted) * interval '1 second' / request.rate
  from jsonb_to_recordset($1::jsonb) as request (position int, tenant_id text, key text, wanted int, rate float8,
    burst float8)
  join delivery_rate before using (tenant_id, key)
  cross join lateral (
    select least(request.burst, before.tokens
             + request.rate * greatest(0, extract(epoch from now() - before.refilled_at))) as tokens
  ) refilled
  cross join lateral (
    select refilled.tokens, least(request.wanted, floor(refilled.tokens))::int as granted,
           greatest(before.next_slot_at, now()) as slot
  ) now_there
  where bucket.tenant_id = request.tenant_id and bucket.key = request.key
  returning request.position, bucket.granted,
    1000 * (extract(epoch from now_there.slot - now()) + 1 / request.rate)::float8 as "firstSlotMs"`;

/**
 * Draws from token buckets that all processes share; two statements for any number of them. Who is over the rate gets a
 * slot of its own, as far apart as the rate allows, so that a long queue is put off once and not over and over.
 *
 * @returns one grant per request, in the same order. A bucket may be named once.
 */
export async function drawTokens(database: Database, requests: RateRequest[]): Promise<RateGrant[]> {
  if (requests.length === 0) return [];
  const rows = requests.map(({ tenantId, key, wanted, limits: { ratePerSecond, burst } }, position) => ({
    position,
    tenant_id: tenantId,
    key,
    wanted,
    rate: ratePerSecond,
    burst: burst ?? Math.max(1, Math.ceil(ratePerSecond)),
  }));
  const drawn = await database.asWorker(async (tx) => {
    // Makes the buckets that are new and locks all of them, in one order for every process.
    await tx.query(TAKE_PLACE, [JSON.stringify(rows)]);
    return tx.query<{ position: number; granted: number; firstSlotMs: number }>(DRAW, [JSON.stringify(rows)]);
  });
  const grants = new Map(drawn.map((grant) => [grant.position, grant]));
  return requests.map(({ limits }, position) => ({
    granted: grants.get(position)?.granted ?? 0,
    firstSlotMs: Math.max(1, Math.round(grants.get(position)?.firstSlotMs ?? 0)),
    intervalMs: 1_000 / limits.ratePerSecond,
  }));
}

/** Shares grants out among messages, in their order. */
export function slotsOf({ granted, firstSlotMs, intervalMs }: RateGrant, wanted: number): (number | undefined)[] {
  return Array.from({ length: wanted }, (_none, index) =>
    index < granted ? undefined : Math.round(firstSlotMs + (index - granted) * intervalMs),
  );
}
