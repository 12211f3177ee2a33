import type { Database } from '../database/database.ts';
import type { Limits } from '../tenants/policies.ts';

/** Request for tokens from one bucket. */
export interface RateRequest {
  tenantId: string;
  /** `channel/provider`; empty for the bucket of the tenant. */
  key: string;
  wanted: number;
  limits: Limits & { ratePerSecond: number };
}

export interface RateGrant {
  /** Number of messages that may be sent now. */
  granted: number;
  /** Delay of the first message over the rate, in milliseconds. */
  firstSlotMs: number;
  /** Time between two messages over the rate, in milliseconds. */
  intervalMs: number;
}

const UPSERT_BUCKETS = `
  insert into delivery_rate as bucket (tenant_id, key, tokens, refilled_at, next_slot_at)
  select tenant_id, key, burst, now(), now()
  from jsonb_to_recordset($1::jsonb) as request (tenant_id text, key text, burst float8)
  order by tenant_id, key
  on conflict (tenant_id, key) do update set tokens = bucket.tokens`;

const DRAW = `
  update delivery_rate bucket
  set tokens = current_state.tokens - current_state.granted, granted = current_state.granted, refilled_at = now(),
      next_slot_at = current_state.slot + (request.wanted - current_state.granted) * interval '1 second' / request.rate
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
  ) current_state
  where bucket.tenant_id = request.tenant_id and bucket.key = request.key
  returning request.position, bucket.granted,
    1000 * (extract(epoch from current_state.slot - now()) + 1 / request.rate)::float8 as "firstSlotMs"`;

/**
 * Draws tokens from buckets that all processes share. Runs two statements for any number of buckets. Each message over the
 * rate gets its own retry slot, so that a message in a long queue is delayed once and not repeatedly.
 *
 * @returns one grant per request, in the same order. Each bucket may occur once.
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
    // Creates missing buckets and locks all of them in one order, which prevents deadlocks between processes.
    await tx.query(UPSERT_BUCKETS, [JSON.stringify(rows)]);
    return tx.query<{ position: number; granted: number; firstSlotMs: number }>(DRAW, [JSON.stringify(rows)]);
  });
  const grants = new Map(drawn.map((grant) => [grant.position, grant]));
  return requests.map(({ limits }, position) => ({
    granted: grants.get(position)?.granted ?? 0,
    firstSlotMs: Math.max(1, Math.round(grants.get(position)?.firstSlotMs ?? 0)),
    intervalMs: 1_000 / limits.ratePerSecond,
  }));
}

/** Returns the delay of each message in milliseconds; undefined for those that may be sent now. */
export function slotsOf({ granted, firstSlotMs, intervalMs }: RateGrant, wanted: number): (number | undefined)[] {
  return Array.from({ length: wanted }, (_none, index) =>
    index < granted ? undefined : Math.round(firstSlotMs + (index - granted) * intervalMs),
  );
}
