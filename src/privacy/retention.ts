import type { Database, Transaction } from '../database/database.ts';
import { expireStatistics } from '../delivery/statistics-expiry.ts';
import { firstIdOf } from '../ids.ts';
import { recordRetention } from './retention-progress.ts';
import { traceKeySql } from '../intake/search-key.ts';
import { expireNotifications } from './inbox-expiry.ts';
import { dropExpiredPartitions, type RetentionOptions } from './partitions.ts';

/** Maximum number of rows of a table that one transaction deletes. */
const BATCH = 10_000;
/** Maximum number of records that one transaction anonymises, which also writes them. */
const ANONYMISED = 2_000;
/** Number of tenants whose settings are read together. */
const TENANTS = 100;
/** Days for which the id of an event is remembered at least, also when its record is deleted earlier. */
export const IDEMPOTENCY_DAYS = 90;
const DAY_MS = 86_400_000;
const FIRST = '00000000-0000-0000-0000-000000000000';

/**
 * Deletes and anonymises rows whose retention has passed. A month whose records have all expired is dropped whole. Each
 * other batch is a separate transaction, so that the job can stop and continue at any point, and several instances can
 * run it at the same time.
 *
 * @returns the number of deleted and anonymised rows.
 */
export async function applyRetention({
  database,
  settings,
  now = Date.now,
  isStopped = () => false,
}: RetentionOptions): Promise<{ removed: number; anonymised: number }> {
  const total = { removed: 0, anonymised: 0 };
  await dropExpiredPartitions({ database, settings, now, isStopped });
  for (let after = ''; !isStopped();) {
    const tenants = await tenantsAfter(database, after);
    const policies = await settings.load(tenants);
    for (const tenantId of tenants) {
      const { anonymiseAfterDays = null, retentionDays = null } = policies.get(tenantId)?.privacy ?? {};
      if (retentionDays !== null) {
        const before = now() - retentionDays * DAY_MS;
        total.removed += await removeRecords(database, tenantId, before, isStopped);
        total.removed += await expireNotifications(database, tenantId, new Date(before), isStopped);
        total.removed += await repeat((tx) => removeOthers(tx, tenantId, before), database, isStopped);
        const forgotten = Math.min(before, now() - IDEMPOTENCY_DAYS * DAY_MS);
        await repeat((tx) => forget(tx, tenantId, forgotten), database, isStopped);
      }
      if (anonymiseAfterDays !== null) {
        const before = now() - anonymiseAfterDays * DAY_MS;
        total.anonymised += await repeat((tx) => anonymise(tx, tenantId, before), database, isStopped);
      }
    }
    const last = tenants.at(-1);
    if (last === undefined) break;
    after = last;
  }
  total.removed += await repeat((tx) => expireStatistics(tx, now()), database, isStopped);
  return total;
}

async function repeat(
  step: (tx: Transaction) => Promise<{ count: number; isMore: boolean }>,
  database: Database,
  isStopped: () => boolean,
): Promise<number> {
  let total = 0;
  while (!isStopped()) {
    const { count, isMore } = await database.asWorker(step);
    total += count;
    if (!isMore) break;
  }
  return total;
}

/** Lists tenants by jumping through the index; `distinct` would read every record. */
const SELECT_TENANTS = `with recursive known (tenant_id, nth) as (
    (select tenant_id, 1 from notification_log where tenant_id > $1 order by tenant_id limit 1)
    union all
    select next.tenant_id, known.nth + 1 from known cross join lateral (
      select tenant_id from notification_log log where log.tenant_id > known.tenant_id
      order by log.tenant_id limit 1
    ) as next where known.nth < ${TENANTS}
  )
  select tenant_id as "tenantId" from known`;

/** Returns the tenants after `after`. The cost depends on the number of tenants, not of their rows. */
async function tenantsAfter(database: Database, after: string): Promise<string[]> {
  const rows = await database.asWorker((tx) => tx.query<{ tenantId: string }>(SELECT_TENANTS, [after]));
  return rows.map(({ tenantId }) => tenantId);
}

/** Condition for finished records. A record that waits for its delivery is kept regardless of its age. */
const IS_ENDED = `status not in ('queued', 'sending', 'retrying')`;

/** Locks the next records. They come first in the lock order of `lock-order.ts`. */
const LOCK_EXPIRED = `select id from notification_log where tenant_id = $1 and id > $2 and id < $3 and ${IS_ENDED}
  order by id limit ${BATCH} for update skip locked`;

/** The smallest and the largest id limit the statement to the partitions that have them. */
const DELETE_RECORDS = `with attempted as (
    delete from delivery_attempt where log_id = any($1::uuid[]) and log_id between $2 and $3
  ), keyed as (
    delete from notification_log_key where log_id = any($1::uuid[]) and log_id between $2 and $3
  )
  delete from notification_log where id = any($1::uuid[]) and id between $2 and $3`;

/**
 * Deletes delivery records in the order of their ids, each batch in a transaction. A batch starts after the last one:
 * otherwise it would first read the index entries of everything that was deleted before.
 */
async function removeRecords(
  database: Database,
  tenantId: string,
  before: number,
  isStopped: () => boolean,
): Promise<number> {
  let total = 0;
  for (let after: string | undefined = FIRST; after !== undefined && !isStopped();) {
    const values: string[] = [tenantId, after, firstIdOf(before)];
    const ids: string[] = await database.asWorker(async (tx) => {
      await recordRetention(tx, [tenantId], before);
      const locked = (await tx.query<{ id: string }>(LOCK_EXPIRED, values)).map(({ id }) => id);
      if (locked.length > 0) await tx.query(DELETE_RECORDS, [locked, locked[0], locked.at(-1)]);
      return locked;
    });
    total += ids.length;
    after = ids.length === BATCH ? ids.at(-1) : undefined;
  }
  return total;
}

/** Deletes one bounded batch from each table, and returns only the counts. */
const DELETE_OTHERS = `with rejected as (
    delete from rejected_event where id = any(array(
      select id from rejected_event where tenant_id = $1 and id < $2 order by id limit ${BATCH})) returning 1
  ), captured as (
    delete from sandbox_message where id = any(array(
      select id from sandbox_message where tenant_id = $1 and id < $2 order by id limit ${BATCH})) returning 1
  )
  select count(*)::int as count from rejected union all select count(*)::int from captured`;

async function removeOthers(
  tx: Transaction,
  tenantId: string,
  before: number,
): Promise<{ count: number; isMore: boolean }> {
  const rows = await tx.query<{ count: number }>(DELETE_OTHERS, [tenantId, firstIdOf(before)]);
  const counts = rows.map(({ count }) => count);
  return { count: counts.reduce((sum, count) => sum + count, 0), isMore: counts.includes(BATCH) };
}

/**
 * Forgets a bounded batch of events, so that the table does not grow for ever. An array, because the planner may join a
 * subquery to every event of a tenant that has no statistics yet.
 */
const FORGET_EVENTS = `delete from event_idempotency where tenant_id = $1 and event_id = any(array(
    select event_id from event_idempotency where tenant_id = $1 and log_id < $2
    order by log_id limit ${BATCH})) returning 1`;

async function forget(tx: Transaction, tenantId: string, before: number): Promise<{ count: number; isMore: boolean }> {
  const { length: count } = await tx.query(FORGET_EVENTS, [tenantId, firstIdOf(before)]);
  return { count, isMore: count === BATCH };
}

const KIND = 'anonymise';

/** Runs before each batch, and does nothing after the first. */
const CREATE_JOB = `insert into privacy_job (tenant_id, kind, cursor) values ($1, $2, '${FIRST}')
  on conflict do nothing`;

/** Only one instance works on a tenant at a time: the others skip the locked row. */
const LOCK_JOB = 'select cursor from privacy_job where tenant_id = $1 and kind = $2 for update skip locked';

/** Anonymises one bounded batch without reading it into the process. Its records are then found by their trace only. */
const ANONYMISE = `with old as (
    select id from notification_log
    where tenant_id = $1 and id > $2 and id < $3
      and id < coalesce((
        select min(id::text)::uuid from notification_log
        where tenant_id = $1 and not (${IS_ENDED})), $3)
    order by id limit ${ANONYMISED}
  ), changed as (
    update notification_log log
    set recipient = '{}', params = '{}', extra = null, content = null, audience = null, trigger_by = null,
      error_message = null, is_reduced = true
    from old where log.id = old.id returning log.id, log.tenant_id, log.trace_id
  ), keyed as (
    delete from notification_log_key key using changed
    where key.log_id = changed.id and key.key <> ${traceKeySql('changed')}
  )
  select (select max(id::text) from old) as last, (select count(*)::int from changed) as count`;

/** Commits together with the batch. */
const SAVE_CURSOR = 'update privacy_job set cursor = $3, updated_at = now() where tenant_id = $1 and kind = $2';

/** Processes a tenant's records in order, up to the first unfinished one, and stores its progress. */
async function anonymise(
  tx: Transaction,
  tenantId: string,
  before: number,
): Promise<{ count: number; isMore: boolean }> {
  await tx.query(CREATE_JOB, [tenantId, KIND]);
  const [job] = await tx.query<{ cursor: string }>(LOCK_JOB, [tenantId, KIND]);
  if (!job) return { count: 0, isMore: false };
  const [{ last, count } = { last: null, count: 0 }] = await tx.query<{ last: string | null; count: number }>(
    ANONYMISE,
    [tenantId, job.cursor, firstIdOf(before)],
  );
  if (last !== null) {
    await tx.query(SAVE_CURSOR, [tenantId, KIND, last]);
  }
  return { count, isMore: count === ANONYMISED };
}
