import type { Database, Transaction } from '../database/database.ts';
import { dropPartition, type Partition, type PartitionKind, partitionsBefore } from '../database/partitions.ts';
import { firstIdOf, timeOf } from '../ids.ts';
import type { TenantSettingsSource } from '../tenants/settings.ts';
import { recordRetention } from './retention-progress.ts';

/** Number of tenants whose settings are read together. */
const TENANTS = 100;
const DAY_MS = 86_400_000;
const FIRST = '00000000-0000-0000-0000-000000000000';

export interface RetentionOptions {
  database: Database;
  settings: Pick<TenantSettingsSource, 'load'>;
  /** Milliseconds since 1970. Default: now. */
  now?: () => number;
  isStopped?: () => boolean;
}

/**
 * Drops the partitions whose records have expired for every tenant in them, which takes the same time for any number of
 * records. Audit events have the same retention, but are never deleted one by one: they go with their month, after the
 * audit service has received them.
 */
export async function dropExpiredPartitions(options: Required<RetentionOptions>): Promise<void> {
  for (const kind of ['log', 'audit'] as const) {
    let lower = FIRST;
    const past = await options.database.asWorker((tx) => partitionsBefore(tx, kind, firstIdOf(options.now())));
    for (const partition of past) {
      if (options.isStopped()) return;
      const bounded = { ...partition, lower };
      if (await hasExpired(options, kind, bounded)) await drop(options.database, kind, bounded);
      lower = partition.upper;
    }
  }
}

const LOCK_NOT_AVAILABLE = '55P03';

/** Long transactions use the table: the next run tries again. */
function ignoreLockTimeout(error: unknown): void {
  if ((error as { code?: string }).code !== LOCK_NOT_AVAILABLE) throw error;
}

async function hasExpired(
  { database, settings, now }: Required<RetentionOptions>,
  kind: PartitionKind,
  { lower, upper }: Partition & { lower: string },
): Promise<boolean> {
  if (kind === 'audit' && !(await database.asWorker((tx) => isRelayed(tx, lower, upper)))) return false;
  for await (const tenants of tenantsIn(database, kind, { lower, upper })) {
    const policies = await settings.load(tenants);
    for (const tenantId of tenants) {
      const days = policies.get(tenantId)?.privacy.retentionDays ?? null;
      if (days === null || firstIdOf(now() - days * DAY_MS) < upper) return false;
    }
  }
  return true;
}

/** Deletes the records of a month, after the statistics know that they will be missing. */
async function drop(database: Database, kind: PartitionKind, partition: Partition & { lower: string }): Promise<void> {
  if (kind === 'log') {
    for await (const tenants of tenantsIn(database, kind, partition)) {
      await database.asWorker((tx) => recordRetention(tx, tenants, timeOf(partition.upper)));
    }
  }
  await database.asWorker((tx) => dropPartition(tx, kind, partition)).catch(ignoreLockTimeout);
}

/** Lists the tenants of a partition by jumping through its index on tenant and id. */
const selectTenants = (table: string): string => `with recursive known (tenant_id, nth) as (
    (select tenant_id, 1 from ${table} where tenant_id > $1 and id >= $2 and id < $3 order by tenant_id limit 1)
    union all
    select next.tenant_id, known.nth + 1 from known cross join lateral (
      select tenant_id from ${table} row where row.tenant_id > known.tenant_id and row.id >= $2 and row.id < $3
      order by row.tenant_id limit 1
    ) as next where known.nth < ${TENANTS}
  )
  select tenant_id as "tenantId" from known`;

const SELECT_TENANTS: Record<PartitionKind, string> = {
  log: selectTenants('notification_log'),
  audit: selectTenants('audit_event'),
};

/** Yields the tenants of a partition in batches. */
async function* tenantsIn(
  database: Database,
  kind: PartitionKind,
  { lower, upper }: { lower: string; upper: string },
): AsyncGenerator<string[]> {
  for (let after: string | undefined = ''; after !== undefined;) {
    const values: string[] = [after, lower, upper];
    const rows = await database.asWorker((tx) => tx.query<{ tenantId: string }>(SELECT_TENANTS[kind], values));
    if (rows.length > 0) yield rows.map(({ tenantId }) => tenantId);
    after = rows.at(-1)?.tenantId;
  }
}

/** Where no audit service is configured, there is no position, and nothing waits for it. */
const SELECT_WAITING = `select 1 from audit_relay relay cross join lateral (
    select from audit_event event where event.id >= $1 and event.id < $2 and (event.xid, event.id) > (relay.xid, relay.event_id)
    limit 1) waiting limit 1`;

const isRelayed = async (tx: Transaction, lower: string, upper: string): Promise<boolean> =>
  (await tx.query(SELECT_WAITING, [lower, upper])).length === 0;
