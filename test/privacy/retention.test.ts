import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Database, openDatabase } from '../../src/database/database.ts';
import { createLog } from '../../src/log.ts';
import { applyRetention } from '../../src/privacy/retention.ts';
import { eventually } from '../support/eventually.ts';
import { startTestService, type TestService } from '../support/service.ts';
import { sql } from '../support/sql.ts';

const DAY_MS = 86_400_000;
/** More than one batch of each kind. */
const RECORDS = 12_000;

describe('retention', () => {
  let service: TestService;
  let database: Database;
  beforeAll(async () => {
    service = await startTestService({ DELIVERY_MODE: 'hold', ROLES: 'api' });
    database = openDatabase({ url: service.env['DATABASE_URL'] as string, log: createLog('silent') });
    for (const tenantId of ['tenant-removes', 'tenant-anonymises', 'tenant-keeps']) {
      await sql(
        service.databaseUrl,
        `with log as (
           insert into notification_log (id, tenant_id, event_id, event_type, event_code, channels, recipient, params,
             status, trace_id, event_created_at)
           select (lpad(to_hex((extract(epoch from now()) * 1000)::bigint), 12, '0') || '7000' ||
               '8' || lpad(to_hex(n), 15, '0'))::uuid, '${tenantId}', gen_random_uuid(), 'notification.triggered.v1',
             'user.welcome', '{email}', '{"email": "anna@example.com"}', '{"name": "Anna"}',
             case when n = ${RECORDS} then 'queued' else 'sent' end, 'trace', now()
           from generate_series(1, ${RECORDS}) n
         ), inboxes as (
           insert into inbox (tenant_id, user_id, last_seq, unread_count) values ('${tenantId}', 'anna', 10, 7)
         )
         insert into notification (id, tenant_id, user_id, created_seq, seq, log_id, type, body, recipient_scope, read_at)
         select gen_random_uuid(), '${tenantId}', 'anna', n, n, gen_random_uuid(), 'a', 'b', 'users',
           case when n > 7 then now() end
         from generate_series(1, 10) n`,
      );
    }
    const save = (tenantId: string, privacy: object) =>
      service.core.settings.save(tenantId, { privacy }, { userId: 'admin' });
    await save('tenant-removes', { retentionDays: 30 });
    await save('tenant-anonymises', { anonymiseAfterDays: 10 });
  });
  afterAll(async () => {
    await database.close();
    await service.close();
  });

  const keep = (days: number, isStopped?: () => boolean) =>
    applyRetention({
      database,
      settings: service.core.settings,
      now: () => Date.now() + days * DAY_MS,
      ...(isStopped && { isStopped }),
    });
  const count = async (tenantId: string, condition: string): Promise<number> =>
    (
      await sql<{ count: number }>(
        service.databaseUrl,
        `select count(*)::int as count from notification_log where tenant_id = '${tenantId}' and ${condition}`,
      )
    )[0]?.count as number;

  it('changes no data before its retention period ends', async () => {
    expect(await keep(9)).toEqual({ removed: 0, anonymised: 0 });
  });

  it('anonymises old records, also after an interruption, and keeps addresses of waiting ones', async () => {
    let steps = 0;
    const first = await keep(20, () => (steps += 1) > 3);
    expect(first.anonymised).toBeGreaterThan(0);
    expect(first.anonymised).toBeLessThan(RECORDS - 1);
    const second = await keep(20);
    expect(first.anonymised + second.anonymised).toBe(RECORDS - 1);
    expect(await keep(20)).toEqual({ removed: 0, anonymised: 0 });
    expect(await count('tenant-anonymises', `recipient = '{}' and params = '{}' and is_reduced`)).toBe(RECORDS - 1);
    expect(await count('tenant-anonymises', `status = 'queued' and recipient->>'email' = 'anna@example.com'`)).toBe(1);
  });

  it('deletes old records, with inbox and unread count, and no data of other tenants', async () => {
    const { removed } = await keep(40);
    expect(removed).toBe(RECORDS - 1 + 10);
    expect(await count('tenant-removes', 'true')).toBe(1);
    expect(await count('tenant-keeps', `recipient <> '{}'`)).toBe(RECORDS);
    const inboxes = await sql(service.databaseUrl, 'select tenant_id, unread_count from inbox order by 1');
    expect(inboxes).toEqual([
      { tenant_id: 'tenant-anonymises', unread_count: 7 },
      { tenant_id: 'tenant-keeps', unread_count: 7 },
      { tenant_id: 'tenant-removes', unread_count: 0 },
    ]);
  });

  it('deletes the old notifications of many inboxes and of a full one, and keeps newer ones', async () => {
    await sql(
      service.databaseUrl,
      `with box as (
         insert into inbox (tenant_id, user_id, last_seq, unread_count)
         select 'tenant-removes', 'many-' || n, case when n = 1 then 300 else 2 end, case when n = 1 then 300 else 2 end
         from generate_series(1, 1200) n returning user_id, last_seq
       )
       insert into notification (id, tenant_id, user_id, created_seq, seq, log_id, type, body, recipient_scope, created_at)
       select gen_random_uuid(), 'tenant-removes', user_id, seq, seq, gen_random_uuid(), 'a', 'b', 'users',
         now() + case when seq = last_seq then interval '20 days' else interval '0' end
       from box, generate_series(1, last_seq) seq`,
    );
    expect(await keep(40)).toEqual({ removed: 299 + 1_199, anonymised: 0 });
    const left = await sql(
      service.databaseUrl,
      `select unread_count, count(*)::int as inboxes, sum(notifications)::int as notifications
       from inbox cross join lateral (select count(*) as notifications from notification n
         where n.tenant_id = inbox.tenant_id and n.user_id = inbox.user_id) kept
       where user_id like 'many-%' group by 1`,
    );
    expect(left).toEqual([{ unread_count: 1, inboxes: 1_200, notifications: 1_200 }]);
  });

  it('waits for a transaction that changes an inbox, without a deadlock', async () => {
    await sql(
      service.databaseUrl,
      `insert into notification (id, tenant_id, user_id, created_seq, seq, log_id, type, body, recipient_scope)
       values (gen_random_uuid(), 'tenant-removes', 'anna', 11, 11, gen_random_uuid(), 'a', 'b', 'users')`,
    );
    const box = `tenant_id = 'tenant-removes' and user_id = 'anna'`;
    const { length, keeping } = await database.asWorker(async (tx) => {
      await tx.query(`select from inbox where ${box} for update`);
      const keeping = keep(40);
      await eventually(async () => {
        const [row] = await sql<{ waiting: number }>(
          service.databaseUrl,
          `select count(*)::int as waiting from pg_stat_activity
           where datname = current_database() and wait_event_type = 'Lock'`,
        );
        return row?.waiting === 1;
      }, 'retention waiting for the inbox');
      const { length } = await tx.query(`delete from notification where ${box} returning 1`);
      return { length, keeping };
    });
    expect(length).toBe(1);
    expect(await keeping).toEqual({ removed: 0, anonymised: 0 });
  });
});
