import { randomUUID } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Database, openDatabase } from '../../src/database/database.ts';
import { foldStatistics } from '../../src/delivery/statistics-fold.ts';
import { rebuildStatistics } from '../../src/delivery/statistics-rebuild.ts';
import { createLog } from '../../src/log.ts';
import { applyRetention } from '../../src/privacy/retention.ts';
import {
  ErasePersonDocument,
  ErasureDocument,
  RetryNotificationDocument,
  StatisticsDocument,
} from '../generated/operations.ts';
import { outputOf, spawnScript } from '../support/child.ts';
import { query } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { sql } from '../support/sql.ts';
import { startTenantService, type TenantService, type TestTenant } from '../support/tenant.ts';

const DAY_MS = 86_400_000;
const INBOX = { recipient: { user_id: 'anna' }, channels: ['in_app'] };

/** SQL for the number of notifications in each group of the finest level, from the records and from the rollups. */
const FROM_RECORDS = `select tenant_id, date_trunc('hour', created_at, 'UTC') as hour, event_code,
    coalesce(channel, '') as channel, status, template_id, count(*)::int as count,
    count(sent_at)::int as sent
  from notification_log where status not in ('queued', 'sending', 'retrying') and not is_test
  group by 1, 2, 3, 4, 5, 6 order by 1, 2, 3, 4, 5, 6`;
const FROM_ROLLUPS = `select tenant_id, starts_at as hour, event_code, channel, status,
    nullif(template_id, '00000000-0000-0000-0000-000000000000') as template_id, sum(count)::int as count,
    coalesce(sum(count) filter (where bucket >= 0), 0)::int as sent
  from delivery_statistic where level = 'hour'
  group by 1, 2, 3, 4, 5, 6 having sum(count) <> 0 order by 1, 2, 3, 4, 5, 6`;
/** The number of notifications in each level, and in the records. One snapshot. */
const SUMS = `select (select count(*)::int from notification_log
      where status not in ('queued', 'sending', 'retrying') and not is_test) as records,
    (select coalesce(sum(count), 0)::int from delivery_statistic_delta) as deltas,
    coalesce(sum(count) filter (where level = 'hour'), 0)::int as hour,
    coalesce(sum(count) filter (where level = 'day'), 0)::int as day,
    coalesce(sum(count) filter (where level = 'hour_channel'), 0)::int as hour_channel,
    coalesce(sum(count) filter (where level = 'day_channel'), 0)::int as day_channel,
    coalesce(sum(count) filter (where level = 'hour_total'), 0)::int as hour_total,
    coalesce(sum(count) filter (where level = 'day_total'), 0)::int as day_total
  from delivery_statistic`;

interface Group {
  tenant_id: string;
  count: number;
}

interface Sums {
  records: number;
  deltas: number;
  hour: number;
  day: number;
  hour_channel: number;
  day_channel: number;
  hour_total: number;
  day_total: number;
}

describe('the rollups of the delivery statistics', () => {
  let service: TenantService;
  let database: Database;
  beforeAll(async () => {
    service = await startTenantService();
    database = openDatabase({ url: service.env['DATABASE_URL'] as string, log: createLog('silent') });
  });
  afterAll(async () => {
    await database.close();
    await service.close();
  });

  const fold = async (): Promise<void> => {
    await eventually(async () => {
      await foldStatistics(database);
      const [row] = await sql<Sums>(service.databaseUrl, SUMS);
      return row?.deltas === 0;
    }, 'the fold of all deltas');
  };
  /** Expects that the rollups contain exactly what the records do, in every level. */
  const expectExact = async (): Promise<void> => {
    await fold();
    const records = await sql(service.databaseUrl, FROM_RECORDS);
    expect(await sql(service.databaseUrl, FROM_ROLLUPS)).toEqual(records);
    const [{ records: count, deltas, ...levels } = {} as Sums] = await sql<Sums>(service.databaseUrl, SUMS);
    expect(deltas).toBe(0);
    expect(Object.entries(levels)).toEqual(Object.keys(levels).map((level) => [level, count]));
  };
  const ask = async (tenant: TestTenant, days = 1) => {
    const range = {
      from: new Date(Date.now() - days * DAY_MS).toISOString(),
      to: new Date(Date.now() + DAY_MS).toISOString(),
    };
    const variables = { ...range, groupBy: ['CHANNEL' as const, 'STATUS' as const, 'EVENT_CODE' as const] };
    const { deliveryStatistics } = await query(
      service.url,
      await tenant.token(['notif.read.log']),
      StatisticsDocument,
      variables,
    );
    return deliveryStatistics.map(({ channel, status, count, sent }) => ({ channel, status, count, sent }));
  };

  it('count each finished delivery once, and neither tests nor open ones, without a look at the records', async () => {
    const tenant = await service.newTenant({}, ['in_app']);
    const sent = await Promise.all(Array.from({ length: 7 }, () => tenant.post(INBOX)));
    const failed = await tenant.post({ recipient: { phone: '+84901234567' }, channels: ['sms'] });
    const test = await tenant.post({ recipient: 'anna', channel: 'in_app' }, 'notification.test.v1');
    await tenant.post({ ...INBOX, send_at: new Date(Date.now() + DAY_MS).toISOString() });
    for (const id of [...sent, test]) await tenant.reached(id, 'sent');
    await tenant.reached(failed, 'failed');

    await sql(service.databaseUrl, 'revoke select on notification_log from notif_api');
    const statistics = await ask(tenant).finally(() =>
      sql(service.databaseUrl, 'grant select on notification_log to notif_api'),
    );
    expect(statistics).toEqual([
      { channel: 'IN_APP', status: 'SENT', count: 7, sent: 7 },
      { channel: 'SMS', status: 'FAILED', count: 1, sent: 0 },
    ]);
    await expectExact();
    expect(await ask(tenant)).toEqual(statistics);
  });

  it('follow a notification that is replayed', async () => {
    const tenant = await service.newTenant({}, []);
    const logId = await tenant.post(INBOX);
    await tenant.reached(logId, 'failed');
    await fold();
    expect(await ask(tenant)).toMatchObject([{ status: 'FAILED', count: 1 }]);
    await service.core.settings.save(tenant.id, { deliveryMode: 'hold' }, { userId: null });
    await query(service.url, await tenant.token(['notif.replay']), RetryNotificationDocument, { logId });
    expect(await ask(tenant)).toEqual([]);
    await expectExact();
    await service.core.settings.save(tenant.id, { deliveryMode: null }, { userId: null });
    await tenant.reached(logId, 'failed');
    expect(await ask(tenant)).toMatchObject([{ status: 'FAILED', count: 1 }]);
    await expectExact();
  });

  it('count a waiting notification that an erasure suppresses, and keep the finished ones of the person', async () => {
    const tenant = await service.newTenant({}, ['in_app']);
    await tenant.reached(await tenant.post(INBOX), 'sent');
    const waiting = await tenant.post({ ...INBOX, send_at: new Date(Date.now() + DAY_MS).toISOString() });
    const admin = await tenant.token(['notif.erase']);
    const { erasePerson } = await query(service.url, admin, ErasePersonDocument, { input: { userId: 'anna' } });
    await eventually(
      async () => (await query(service.url, admin, ErasureDocument, { id: erasePerson.id })).erasure?.completedAt,
      'the end of the erasure',
    );
    await tenant.reached(waiting, 'suppressed');
    expect((await ask(tenant)).map(({ status, count }) => [status, count]).toSorted()).toEqual([
      ['SENT', 1],
      ['SUPPRESSED', 1],
    ]);
    await expectExact();
  });

  it('stay exact while many deliveries are settled, folded and rebuilt at once', async () => {
    const tenants = await Promise.all([1, 2, 3].map(() => service.newTenant({}, ['in_app'])));
    for (const { id } of tenants) await service.core.settings.save(id, { deliveryMode: 'hold' }, { userId: null });
    const another = await service.startAnother({ ROLES: 'dispatcher' });
    for (const tenant of tenants) {
      await sql(
        service.databaseUrl,
        `insert into notification_log (id, tenant_id, event_id, event_type, event_code, channels, recipient, params, status,
           trace_id, event_created_at)
         select (lpad(to_hex((extract(epoch from now()) * 1000)::bigint), 12, '0') || '7' ||
             substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid,
           $1, gen_random_uuid(), 'notification.triggered.v2', case when n % 5 = 0 then 'no.template' else 'user.welcome' end,
           '{in_app}', jsonb_build_object('user_id', 'user-' || n % 20), '{"full_name": "A"}', 'queued', 'trace', now()
         from generate_series(1, 400) n`,
        [tenant.id],
      );
    }
    for (const { id } of tenants) await service.core.settings.save(id, { deliveryMode: null }, { userId: null });
    const snapshots: Sums[] = [];
    let hasEnded = false;
    const work = async (step: () => Promise<unknown>): Promise<void> => {
      while (!hasEnded) await step();
    };
    const concurrent = [
      work(() => foldStatistics(database)),
      work(() => foldStatistics(database)),
      work(() => rebuildStatistics(database)),
      work(async () => snapshots.push(...(await sql<Sums>(service.databaseUrl, SUMS)))),
    ];
    const ids = tenants.map(({ id }) => id);
    await eventually(
      async () => {
        const open = await sql(
          service.databaseUrl,
          `select from notification_log where tenant_id = any($1) and status in ('queued', 'sending', 'retrying') limit 1`,
          [ids],
        );
        return open.length === 0;
      },
      'the end of all deliveries',
      60_000,
    ).finally(() => {
      hasEnded = true;
    });
    await Promise.all(concurrent);
    await another.close();
    for (const { records, deltas, ...levels } of snapshots) {
      for (const [level, count] of Object.entries(levels)) {
        expect([level, count + deltas]).toEqual([level, records]);
      }
    }
    // The snapshots were taken between the settlements too.
    expect(new Set(snapshots.map(({ records }) => records)).size).toBeGreaterThan(2);
    await expectExact();
  });

  it('are rebuilt by the command, for one tenant or all', async () => {
    const tenant = await service.newTenant({}, ['in_app']);
    await tenant.reached(await tenant.post(INBOX), 'sent');
    await expectExact();
    const before = await sql<Group>(
      service.databaseUrl,
      'select * from delivery_statistic order by 1, 2, 3, 4, 5, 6, 7, 8',
    );
    const rebuild = (...args: string[]) =>
      outputOf(
        spawnScript('src/main.js', { DATABASE_URL: service.env['DATABASE_URL'] as string }, [
          'statistics:rebuild',
          ...args,
        ]),
      );
    // Wrong, stale and missing rows of each level.
    await sql(
      service.databaseUrl,
      `update delivery_statistic set count = count + 3 where level in ('day', 'hour_channel')`,
    );
    await sql(service.databaseUrl, `delete from delivery_statistic where level in ('day_total', 'day_channel')`);
    await sql(
      service.databaseUrl,
      `insert into delivery_statistic select tenant_id, level, starts_at, 'stale', channel, status, template_id, bucket, 1
       from delivery_statistic where level = 'hour' and status = 'sent'`,
    );
    await sql(
      service.databaseUrl,
      `insert into delivery_statistic_delta (tenant_id, hour, event_code, channel, status, template_id, bucket, count)
       select tenant_id, starts_at, event_code, channel, status, template_id, bucket, 9 from delivery_statistic
       where tenant_id = $1 and level = 'hour'`,
      [tenant.id],
    );
    const groupsOf = async (tenantId: string) =>
      (await sql<Group>(service.databaseUrl, FROM_ROLLUPS)).filter((group) => group.tenant_id === tenantId);
    const one = await rebuild('--tenant', tenant.id);
    expect(one).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('Counted 1 notifications') });
    expect(await groupsOf(tenant.id)).toMatchObject([{ count: 1, sent: 1 }]);
    await expect(expectExact()).rejects.toThrow('deeply equal');

    expect(await rebuild()).toMatchObject({ code: 0, stderr: '' });
    await expectExact();
    const after = await sql(service.databaseUrl, 'select * from delivery_statistic order by 1, 2, 3, 4, 5, 6, 7, 8');
    // A rebuild leaves out rows that count nothing any more.
    expect(after).toEqual(before.filter(({ count }) => count !== 0));

    expect(await rebuild('--tenants')).toMatchObject({ code: 1, stderr: expect.stringContaining('Usage: ') });
  });

  it('outlive the records, also when they are rebuilt, and are deleted after 25 months', async () => {
    const tenant = await service.newTenant({}, ['in_app']);
    await service.core.settings.save(tenant.id, { privacy: { retentionDays: 30 } }, { userId: null });
    const old = await tenant.reached(await tenant.post(INBOX), 'sent');
    const expected = await ask(tenant);
    expect(expected).toMatchObject([{ count: 1 }]);
    const keep = (days: number) =>
      applyRetention({ database, settings: service.core.settings, now: () => Date.now() + days * DAY_MS });
    await keep(31);
    expect(await sql(service.databaseUrl, 'select from notification_log where id = $1', [old.id])).toEqual([]);
    expect(await ask(tenant)).toEqual(expected);
    await fold();
    const { days } = await rebuildStatistics(database, tenant.id);
    expect(days).toBe(0);
    expect(await ask(tenant)).toEqual(expected);

    await keep(700);
    expect(await ask(tenant)).toEqual(expected);
    await keep(800);
    expect(await ask(tenant)).toEqual([]);
  });

  it('rebuild days after those from which retention has deleted records', async () => {
    const tenant = `tenant-${randomUUID()}`;
    await sql(
      service.databaseUrl,
      `insert into notification_log (id, tenant_id, event_id, event_type, event_code, channels, recipient, params, status,
         created_at, scheduled_at, sent_at, trace_id, event_created_at)
       select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' ||
           substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid,
         $1, gen_random_uuid(), 'notification.triggered.v2', 'user.welcome', '{in_app}', '{}', '{}', 'sent', at, at, at,
         'trace', at
       from generate_series(now() - interval '20 days', now(), interval '1 day') at`,
      [tenant],
    );
    await rebuildStatistics(database, tenant);
    const counts = async () =>
      (
        await sql<{ count: number }>(
          service.databaseUrl,
          `select count from delivery_statistic where tenant_id = $1 and level = 'day' order by starts_at`,
          [tenant],
        )
      ).map(({ count }) => count);
    expect(await counts()).toEqual(Array.from({ length: 21 }, () => 1));
    await service.core.settings.save(tenant, { privacy: { retentionDays: 10 } }, { userId: null });
    await applyRetention({ database, settings: service.core.settings });
    await sql(service.databaseUrl, 'update delivery_statistic set count = 5 where tenant_id = $1', [tenant]);
    await rebuildStatistics(database, tenant);
    const rebuilt = await counts();
    expect(rebuilt).toHaveLength(21);
    // Ten days remain, the first of them in part, and its successor may have records with ids of the first.
    expect(rebuilt.filter((count) => count === 1).length).toBeGreaterThanOrEqual(8);
    expect(rebuilt.slice(0, 11)).toEqual(Array.from({ length: 11 }, () => 5));
  });
});
