import type { Database } from '../database/database.ts';
import { newId } from '../ids.ts';
import type { Channel } from '../intake/channel.ts';
import type { Audience, Content, Recipient } from '../intake/command.ts';
import { LOCK_LEASED } from './lock-order.ts';

/** A row of `notification_log` that this process has leased. */
export interface ClaimedLog {
  id: string;
  tenantId: string;
  eventId: string;
  eventCode: string;
  isTest: boolean;
  channels: Channel[];
  recipient: Recipient;
  audience: Audience | null;
  content: Content | null;
  params: Record<string, unknown>;
  category: string | null;
  /** 0 high, 1 normal, 2 low. */
  priority: number;
  collapseKey: string | null;
  expiresAt: Date | null;
  /** Number of attempts so far. */
  attempts: number;
  /** See `route.ts`; null until the first attempt. */
  route: Channel[] | null;
  step: number;
  stepAttempts: number;
  provider: string | null;
  excludedProviders: string[];
  /** Number of the first attempt with an unknown outcome; null if there is none. */
  unknownSince: number | null;
  /** Number of claims since the row was last settled, including this one. */
  claims: number;
  /** Error of the last failed attempt. */
  errorCode: string | null;
  errorMessage: string | null;
  traceId: string;
  triggerBy: string | null;
  createdAt: Date;
  /** When it was first due. */
  scheduledAt: Date;
  leaseToken: string;
}

/** One statement extends all leases that this instance holds. */
const EXTEND_LEASES = `with locked as (${LOCK_LEASED})
  update notification_log log set due_at = now() + $3 * interval '1 millisecond'
  from locked where log.id = locked.id`;

/** Extends the leases of rows that are still in flight, e.g. because a relay is slow. Runs one statement for all rows. */
export async function renewLeases(database: Database, held: Iterable<ClaimedLog>, leaseMs: number): Promise<void> {
  const rows = [...held];
  if (rows.length === 0) return;
  await database.asWorker((tx) =>
    tx.queryPlanned(EXTEND_LEASES, [rows.map((row) => row.id), rows.map((row) => row.leaseToken), leaseMs]),
  );
}

export interface ClaimRequest {
  /** Id of this dispatcher, see `instances.ts`. */
  owner: string;
  /** Maximum number of rows. */
  limit: number;
  leaseMs: number;
  /** Claims from tenants whose id is greater than this one; empty for the first tenant. */
  after: string;
  /** Number of rows that may be claimed for each of these tenants. */
  capacity: ReadonlyMap<string, number>;
  /** Number of rows that may be claimed for each other tenant. */
  defaultCapacity: number;
}

export interface Claim {
  rows: ClaimedLog[];
  /** `after` of the next claim; empty when the last tenant was reached. */
  after: string;
}

/** Maximum number of tenants per claim. Bounds the cost of the statement when there are many tenants. */
const MAX_TENANTS = 100;

const OPEN = `log.status in ('queued', 'sending', 'retrying')`;

const dueOf = (priority: number): string =>
  `select * from (
     select log.id from notification_log log
     where log.tenant_id = quota.tenant_id and ${OPEN} and log.priority = ${priority} and log.due_at <= now()
       and (log.status <> 'sending' or pg_postmaster_start_time() < now() - interval '10 seconds')
     order by log.due_at limit quota.capacity for update skip locked
   ) as priority_${priority}`;

const CLAIM = `
  with recursive tenant (tenant_id, nth) as (
    (select log.tenant_id, 1 from notification_log log where ${OPEN} and log.tenant_id > $1
     order by log.tenant_id limit 1)
    union all
    select next.tenant_id, tenant.nth + 1
    from tenant cross join lateral (
      select log.tenant_id from notification_log log where ${OPEN} and log.tenant_id > tenant.tenant_id
      order by log.tenant_id limit 1
    ) next
    where tenant.nth < ${MAX_TENANTS}
  ), candidate as (
    select tenant.tenant_id, coalesce(busy.capacity, $4) as capacity
    from tenant
    left join unnest($2::text[], $3::int[]) as busy (tenant_id, capacity) using (tenant_id)
    left join tenant_settings settings using (tenant_id)
    where coalesce(busy.capacity, $4) > 0 and settings.delivery_mode is distinct from 'hold'
      and exists (
        select from unnest(array[0, 1, 2]) as priority cross join lateral (
          select from notification_log log
          where log.tenant_id = tenant.tenant_id and ${OPEN} and log.priority = priority and log.due_at <= now() limit 1
        ) first_due)
  ), ready as (
    -- With more tenants than rows, the rest has its turn in the next claim.
    select tenant_id, capacity, row_number() over (order by tenant_id) as nth, count(*) over () as total
    from (select * from candidate order by tenant_id limit $5) first_tenants
  ), quota as (
    select tenant_id, least(capacity, $5 / total + case when nth <= $5 % total then 1 else 0 end)::int as capacity
    from ready
  ), due as (
    select picked.id from quota cross join lateral (
      select id from (${[0, 1, 2].map(dueOf).join(' union all ')}) as urgent_first limit quota.capacity
    ) picked
  ), crashed as (
    update delivery_attempt attempt set outcome = 'unknown',
      duration_ms = least(extract(epoch from now() - attempt.started_at) * 1000, 2147483647)::int
    from due where attempt.log_id = due.id and attempt.outcome is null
    returning attempt.log_id, case when not attempt.deduplicates then attempt.number end as number
  ), claimed as (
    update notification_log log
    set status = 'sending', claims = least(log.claims + 1, 32767), lease_token = $6,
        due_at = now() + $7 * interval '1 millisecond', updated_at = now(), lease_owner = $8,
        unknown_since = coalesce(log.unknown_since, crashed.number)
    from due left join crashed on crashed.log_id = due.id where log.id = due.id
    returning log.id, log.tenant_id as "tenantId", log.event_id as "eventId", log.event_code as "eventCode",
      log.is_test as "isTest", log.channels, log.recipient, log.audience, log.content::json as content,
      log.params::json as params, log.category,
      log.priority, log.collapse_key as "collapseKey", log.expires_at as "expiresAt", log.attempts, log.route, log.step,
      log.step_attempts as "stepAttempts", log.provider, log.excluded_providers as "excludedProviders", log.claims,
      log.error_code as "errorCode", log.error_message as "errorMessage", log.trace_id as "traceId",
      log.trigger_by as "triggerBy", log.created_at as "createdAt", log.scheduled_at as "scheduledAt",
      log.lease_token as "leaseToken", log.unknown_since as "unknownSince"
  )
  select turn.last as "turnLast", turn."isCut", claimed.*
  from (
    select case when is_full then (select max(tenant_id) from ready) else (select max(tenant_id) from tenant) end as last,
      is_full or (select count(*) from tenant) = ${MAX_TENANTS} as "isCut"
    from (select (select count(*) from candidate) > $5 as is_full) cut
  ) turn left join claimed on true`;

/**
 * Claims at most `limit` due rows and gives each a lease. Tenants take turns and share the limit evenly, so that a tenant
 * with a long queue does not delay the others. Within a tenant, rows with a higher priority come first.
 *
 * An expired lease means that its process died. If the row has an open attempt, its provider was being called: the attempt
 * is marked `unknown`, and `retry.maxUnknown` limits further attempts. Otherwise the provider was not called. After a
 * restart of PostgreSQL the owners of expired leases may still be alive, so their rows are not claimed for 10 seconds.
 */
export async function claimDue(database: Database, request: ClaimRequest): Promise<Claim> {
  const { owner, limit, leaseMs, after, capacity, defaultCapacity } = request;
  const rows = await database.asWorker((tx) =>
    tx.queryPlanned<ClaimedLog & { turnLast: string | null; isCut: boolean }>(CLAIM, [
      after,
      [...capacity.keys()],
      [...capacity.values()],
      defaultCapacity,
      limit,
      newId(),
      leaseMs,
      owner,
    ]),
  );
  const [first] = rows;
  return {
    rows: rows.filter((row) => row.id !== null),
    after: first?.isCut ? (first.turnLast ?? '') : '',
  };
}
