import type { Database } from '../../src/database/database.ts';
import { dropExpiredPartitions } from '../../src/privacy/partitions.ts';
import { applyRetention } from '../../src/privacy/retention.ts';
import { DEFAULT_PRIVACY } from '../../src/privacy/policy.ts';
import type { TenantSettings, TenantSettingsSource } from '../../src/tenants/settings.ts';
import { sql } from '../../test/support/sql.ts';
import type { Step } from './measure.ts';
import { BIG_TENANT, monthSuffix } from './rows.ts';
import type { SeededDatabase } from './seed.ts';

const DAY_MS = 86_400_000;
const RETIRED_TENANT = 'tenant-retired';
const RETIRED = 10_000;

/** Settings with a retention for one tenant, or for all. */
const keepDays = (days: number, tenantId?: string): Pick<TenantSettingsSource, 'load'> => ({
  load: async (tenantIds) =>
    new Map(
      [...tenantIds].map((id) => [
        id,
        {
          privacy: { ...DEFAULT_PRIVACY, ...((tenantId === undefined || id === tenantId) && { retentionDays: days }) },
        } as TenantSettings,
      ]),
    ),
});

/** Returns a step that creates expired records of one tenant in a month of the others, and measures their deletion. */
export function expiryStep({ url, months }: SeededDatabase, database: Database): Step {
  return async () => {
    await sql(
      url,
      `with source as materialized (
         select *, (lpad(to_hex($2::bigint + n), 12, '0') || '7' || substr(md5(random()::text), 1, 3) || '8'
           || substr(md5(random()::text), 1, 15))::uuid as id, to_timestamp(($2::bigint + n) / 1000.0) as at
         from generate_series(1, $3::int) n
       ), log as (
         insert into notification_log (id, tenant_id, event_id, event_type, event_code, channels, channel, recipient, params,
           status, attempts, trace_id, event_created_at, created_at, sent_at)
         select id, $1, gen_random_uuid(), 'notification.triggered.v2', 'order.paid', '{email}', 'email', '{}', '{}', 'sent', 1,
           'expired', at, at, at from source
         returning tenant_id, event_id, id
       ), event as (
         insert into event_idempotency select * from log
       ), key as (
         insert into notification_log_key select $1, gen_random_uuid(), id from source, generate_series(1, 3)
       )
       insert into delivery_attempt (log_id, number, tenant_id, channel, provider, outcome)
       select id, 1, $1, 'email', 'smtp', 'ok' from source`,
      [RETIRED_TENANT, months[5], RETIRED],
    );
    const startedAt = performance.now();
    const { removed } = await applyRetention({ database, settings: keepDays(30, RETIRED_TENANT) });
    if (removed !== RETIRED) throw new Error(`removed ${removed} instead of ${RETIRED} records`);
    return { [`retention: ${RETIRED} records of one tenant`]: performance.now() - startedAt };
  };
}

/** Returns a step that drops the oldest month of all tenants. */
export function dropStep({ url, months }: SeededDatabase, database: Database): Step {
  let dropped = 0;
  return async () => {
    const [month, before] = months.slice(dropped) as [number, number];
    const startedAt = performance.now();
    await dropExpiredPartitions({
      database,
      settings: keepDays(1),
      now: () => before + DAY_MS,
      isStopped: () => false,
    });
    const ms = performance.now() - startedAt;
    dropped += 1;
    const [part] = await sql<{ name: string | null }>(url, 'select to_regclass($1)::text as name', [
      `notification_log_${monthSuffix(month)}`,
    ]);
    if (part?.name !== null) throw new Error(`${part?.name} was not dropped`);
    return { 'retention: a month of all tenants': ms };
  };
}

/** Deletes the oldest records of the big tenant out of months that other tenants keep. */
export async function deleteOldest(
  { months, stepMs }: SeededDatabase,
  database: Database,
  records: number,
): Promise<{ removed: number; seconds: number }> {
  const before = (months[0] as number) + records * 2 * stepMs;
  const startedAt = performance.now();
  const { removed } = await applyRetention({
    database,
    settings: keepDays((Date.now() - before) / DAY_MS, BIG_TENANT),
  });
  return { removed, seconds: (performance.now() - startedAt) / 1_000 };
}
