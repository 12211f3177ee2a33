import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Database, openDatabase } from '../../src/database/database.ts';
import { createPartitions } from '../../src/database/partitions.ts';
import { createLog } from '../../src/log.ts';
import { applyRetention } from '../../src/privacy/retention.ts';
import { startTestService, type TestService } from '../support/service.ts';
import { sql } from '../support/sql.ts';

const DAY_MS = 86_400_000;
let ids = 0;
const MONTHS = ['2025-01', '2025-02', '2025-03'];

/** SQL of an id of a moment. */
const idAt = (moment: string, n = '0'): string =>
  `(lpad(to_hex((extract(epoch from ${moment}) * 1000)::bigint), 12, '0') || '70008' || lpad(to_hex(${n}), 15, '0'))::uuid`;

describe('partitions', () => {
  let service: TestService;
  let database: Database;
  beforeAll(async () => {
    service = await startTestService({ DELIVERY_MODE: 'hold', ROLES: 'api' });
    database = openDatabase({ url: service.env['DATABASE_URL'] as string, log: createLog('silent') });
    await service.core.settings.save('tenant-month', { privacy: { retentionDays: 30 } }, { userId: 'admin' });
    await service.core.settings.save('tenant-year', { privacy: { retentionDays: 365 } }, { userId: 'admin' });
  });
  afterAll(async () => {
    await database.close();
    await service.close();
  });

  const query = <Row extends object>(text: string): Promise<Row[]> => sql<Row>(service.databaseUrl, text);
  const partitionsOf = async (table: string): Promise<string[]> =>
    (
      await query<{ name: string }>(
        `select c.relname as name from pg_inherits join pg_class c on c.oid = inhrelid
         where inhparent = '${table}'::regclass order by 1`,
      )
    ).map(({ name }) => name);

  const TABLES = ['notification_log', 'notification_log_key', 'delivery_attempt', 'audit_event'];

  /** Adds the partitions of a past month, as if the service had run then. The oldest partition gives way to them. */
  const addMonth = (month: string): Promise<unknown> =>
    query(
      TABLES.map((table) => {
        const name = `${table}_${month.replace('-', '_')}`;
        return `drop table if exists ${table}_history;
          do $$ begin
            execute format('create table ${name} partition of ${table} for values from (%L) to (%L)',
              ${idAt(`timestamptz '${month}-01Z'`)}, ${idAt(`timestamptz '${month}-01Z' + interval '1 month'`)});
          end $$;
          alter table ${name} owner to notif_owner;`;
      }).join('\n'),
    );

  const addRecords = (tenant: string, month: string, status = 'sent', count = 100): Promise<unknown> =>
    query(
      `with log as (
         insert into notification_log (id, tenant_id, event_id, event_type, event_code, channels, recipient, params, status,
           trace_id, event_created_at)
         select ${idAt(`timestamptz '${month}-15Z' + n * interval '1 second'`, `n + ${(ids += count)}`)}, '${tenant}', gen_random_uuid(), 'a', 'a',
           '{}', '{}', '{}', '${status}', 'trace', now()
         from generate_series(1, ${count}) n returning id, tenant_id, event_id
       ), event as (
         insert into event_idempotency (tenant_id, event_id, log_id) select tenant_id, event_id, id from log
       ), key as (
         insert into notification_log_key (tenant_id, key, log_id) select tenant_id, gen_random_uuid(), id from log
       ), audit as (
         insert into audit_event (id, tenant_id, action, trace_id, details)
         select id, tenant_id, 'notification.sent', 'trace', '{}' from log
       )
       insert into delivery_attempt (log_id, number, tenant_id, channel, provider) select id, 1, tenant_id, 'email', 'smtp' from log`,
    );

  const keep = (now: number) => applyRetention({ database, settings: service.core.settings, now: () => now });
  const count = async (table: string, tenant: string): Promise<number> =>
    (await query<{ count: number }>(`select count(*)::int as count from ${table} where tenant_id = '${tenant}'`))[0]
      ?.count ?? -1;

  it('of the next months are created once, also by several instances', async () => {
    const created = await Promise.all([createPartitions(database), createPartitions(database)]);
    expect(created.reduce((sum, one) => sum + one, 0)).toBeGreaterThan(0);
    expect(await createPartitions(database)).toBe(0);
    const next = new Date(Date.UTC(new Date().getUTCFullYear(), new Date().getUTCMonth() + 3)).toISOString();
    expect(await partitionsOf('delivery_attempt')).toContain(`delivery_attempt_${next.slice(0, 7).replace('-', '_')}`);
  });

  it('take the records of their month from the default partition', async () => {
    const month = `date_trunc('month', now() at time zone 'UTC') + interval '20 months'`;
    await query(
      `insert into audit_event (id, tenant_id, action, trace_id, details)
       select ${idAt(`(${month} + interval '3 days') at time zone 'UTC'`)}, 'tenant-clock', 'notification.sent', 'trace', '{}'`,
    );
    expect(await count('audit_event_other', 'tenant-clock')).toBe(1);
    await query('do $$ begin while notification_create_partition(20) loop end loop; end $$');
    expect(await count('audit_event_other', 'tenant-clock')).toBe(0);
    expect(await count('audit_event', 'tenant-clock')).toBe(1);
  });

  it('are dropped whole when every tenant in them has expired, and kept for the others', async () => {
    for (const month of MONTHS) await addMonth(month);
    await addRecords('tenant-month', '2025-01');
    await addRecords('tenant-month', '2025-02');
    await addRecords('tenant-forever', '2025-02');
    await addRecords('tenant-month', '2025-03', 'queued', 5);
    await addRecords('tenant-month', '2025-03');

    await keep(Date.now());
    const left = await partitionsOf('notification_log');
    expect(left).not.toContain('notification_log_2025_01');
    expect(await partitionsOf('delivery_attempt')).not.toContain('delivery_attempt_2025_01');
    expect(await partitionsOf('notification_log_key')).not.toContain('notification_log_key_2025_01');
    expect(await partitionsOf('audit_event')).not.toContain('audit_event_2025_01');
    // Another tenant keeps its records of February, and deliveries of March have not ended.
    expect(left).toEqual(expect.arrayContaining(['notification_log_2025_02', 'notification_log_2025_03']));
    for (const table of ['notification_log', 'delivery_attempt', 'notification_log_key']) {
      expect(await count(table, 'tenant-forever')).toBe(100);
      expect(await count(table, 'tenant-month')).toBe(5);
    }
    expect(await count('event_idempotency', 'tenant-month')).toBe(0);
    expect(await count('event_idempotency', 'tenant-forever')).toBe(100);
    // Audit events go with their month only.
    expect(await count('audit_event', 'tenant-month')).toBe(100);
  });

  it('keep the ids of events for 90 days, also if their records are deleted earlier', async () => {
    const accepted = Date.parse('2025-03-15');
    await addRecords('tenant-month', '2025-03');
    await keep(accepted + 60 * DAY_MS);
    expect(await count('notification_log', 'tenant-month')).toBe(5);
    expect(await count('event_idempotency', 'tenant-month')).toBe(100);
    await keep(accepted + 91 * DAY_MS);
    expect(await count('event_idempotency', 'tenant-month')).toBe(0);
  });

  it('are not dropped before the audit service has received their events', async () => {
    await addMonth('2025-04');
    await addRecords('tenant-month', '2025-04');
    await query(
      `insert into audit_relay (name, xid, event_id) values ('audit_service', '0', '00000000-0000-0000-0000-000000000000')`,
    );
    await keep(Date.now());
    expect(await partitionsOf('audit_event')).toContain('audit_event_2025_04');
    await query(`update audit_relay set xid = pg_current_xact_id()`);
    await keep(Date.now());
    expect(await partitionsOf('audit_event')).not.toContain('audit_event_2025_04');
  });

  it('cannot be dropped by the worker while they are current or do not exist', async () => {
    const thisMonth = new Date().toISOString().slice(0, 7);
    const dropped = await database.asWorker((tx) =>
      tx.query(
        `select notification_drop_partition('audit', '${thisMonth}-01') as current,
           notification_drop_partition('log', '1999-01-01') as unknown,
           notification_drop_partition('inbox', null) as other`,
      ),
    );
    expect(dropped).toEqual([{ current: false, unknown: false, other: false }]);
  });
});
