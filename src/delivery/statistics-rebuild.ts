import type { Database } from '../database/database.ts';
import { firstIdOf } from '../ids.ts';
import { RETENTION_JOB } from '../privacy/retention-progress.ts';
import { countByGroup, STATISTIC_COLUMNS, sumByLevel } from './statistics-deltas.ts';
import { STATISTICS_LOCK } from './statistics-fold.ts';

const DAY_MS = 86_400_000;

/** Jumps through the indexes from tenant to tenant. */
const SELECT_TENANTS = `with recursive known (tenant_id) as (
    select least((select min(tenant_id) from notification_log), (select min(tenant_id) from delivery_statistic))
    union all
    select least(
      (select min(log.tenant_id) from notification_log log where log.tenant_id > known.tenant_id),
      (select min(statistic.tenant_id) from delivery_statistic statistic where statistic.tenant_id > known.tenant_id))
    from known where known.tenant_id is not null
  )
  select tenant_id as "tenantId" from known where tenant_id is not null`;

/** Returns the first day with a record or a statistic. An id may be older than its row. */
const SELECT_FIRST_DAY = `select date_trunc('day', least(
    (select created_at - interval '1 day' from notification_log where tenant_id = $1 order by id limit 1),
    (select min(starts_at) from delivery_statistic where tenant_id = $1 and level = 'day')), 'UTC') as "firstDay"`;

/** A separate statement, because the next one must see everything that the previous holder of the lock committed. */
const LOCK = `select pg_advisory_xact_lock(${STATISTICS_LOCK})`;

/**
 * Replaces the statistics of one day ($2 to $3) by those of its records, which have ids from $4 to $5. One statement has
 * one snapshot: a delivery that is settled at the same time adds its record and its delta together, either to what this
 * statement sees or after it. Changes nothing if retention may have deleted records of the day.
 */
const REBUILD_DAY = `with complete as materialized (
    select where not exists (
      select from privacy_job where tenant_id = $1 and kind = '${RETENTION_JOB}' and cursor > $4)
  ), removed as (
    delete from delivery_statistic
    where tenant_id = $1 and level in ('hour', 'day', 'hour_channel', 'day_channel', 'hour_total', 'day_total')
      and starts_at >= $2 and starts_at < $3
      and exists (select from complete)
    returning 1
  ), folded as (
    delete from delivery_statistic_delta where tenant_id = $1 and hour >= $2 and hour < $3
      and exists (select from complete)
    returning 1
  ), counted as (
    ${countByGroup(`(
      select * from notification_log
      where tenant_id = $1 and id >= $4 and id < $5 and created_at >= $2 and created_at < $3
        and exists (select from complete)
    ) as log`)}
  ), written as (
    insert into delivery_statistic (${STATISTIC_COLUMNS})
    select ${STATISTIC_COLUMNS} from (${sumByLevel('counted')}) as summed
    -- Deletes the old rows first, because the new ones may have the same keys.
    where (select count(*) from removed) >= 0
  )
  select exists (select from complete) as "isComplete",
    (select coalesce(sum(count), 0)::int from counted) as count`;

export interface Rebuilt {
  tenants: number;
  days: number;
  /** Number of notifications that the rebuilt statistics count. */
  notifications: number;
}

/**
 * Computes the delivery statistics again from the delivery records. Each day of a tenant is one transaction, and
 * deliveries go on meanwhile. Days from which retention may have deleted records keep their statistics.
 *
 * @param tenantId only this tenant; all if undefined.
 */
export async function rebuildStatistics(database: Database, tenantId?: string): Promise<Rebuilt> {
  const total: Rebuilt = { tenants: 0, days: 0, notifications: 0 };
  for (const tenant of tenantId === undefined ? await tenantsOf(database) : [tenantId]) {
    total.tenants += 1;
    const first = await firstDayOf(database, tenant);
    for (let day = first ?? Number.POSITIVE_INFINITY; day <= Date.now(); day += DAY_MS) {
      const { isComplete, count } = await rebuildDay(database, tenant, day);
      if (isComplete) total.days += 1;
      total.notifications += count;
    }
  }
  return total;
}

async function tenantsOf(database: Database): Promise<string[]> {
  const rows = await database.asWorker((tx) => tx.query<{ tenantId: string }>(SELECT_TENANTS));
  return rows.map(({ tenantId }) => tenantId);
}

async function firstDayOf(database: Database, tenantId: string): Promise<number | undefined> {
  const [row] = await database.asWorker((tx) => tx.query<{ firstDay: Date | null }>(SELECT_FIRST_DAY, [tenantId]));
  return row?.firstDay?.getTime();
}

function rebuildDay(
  database: Database,
  tenantId: string,
  day: number,
): Promise<{ isComplete: boolean; count: number }> {
  const end = day + DAY_MS;
  return database.asWorker(async (tx) => {
    await tx.query(LOCK);
    const [rebuilt] = await tx.query<{ isComplete: boolean; count: number }>(REBUILD_DAY, [
      tenantId,
      new Date(day),
      new Date(end),
      // Ids are ordered by time and indexed. The margin of a day covers ids that are older or newer than their row.
      firstIdOf(day - DAY_MS),
      firstIdOf(end + DAY_MS),
    ]);
    return rebuilt ?? { isComplete: false, count: 0 };
  });
}
