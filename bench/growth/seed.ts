import pg from 'pg';

import { migrate } from '../../src/database/migrate.ts';
import { countByGroup, STATISTIC_COLUMNS, sumByLevel } from '../../src/delivery/statistics-deltas.ts';
import { createTestDatabase } from '../../test/support/template-database.ts';
import {
  BIG_TENANT,
  boundsOf,
  MONTHLY,
  type MonthlyTable,
  monthSuffix,
  numbersByMonth,
  selectRecords,
  type Size,
  type Timeline,
  timelineOf,
} from './rows.ts';

/** Owner of an inbox with this many notifications at every size. */
export const READER = 'reader';
const READER_NOTIFICATIONS = 1_000;
/** The big tenant and the tenants with a smaller id have statistics, of the last months. */
const STATISTICS_BELOW = 'tenant-00100';
const STATISTICS_MONTHS = 4;

export interface SeededDatabase extends Size, Timeline {
  url: string;
  drop(): Promise<void>;
}

/**
 * Creates a database with delivery records of the last twelve months: half of them of one tenant, the others of the
 * remaining tenants. A fifth has a notification in an inbox.
 */
export async function seed(server: string, size: Size): Promise<SeededDatabase> {
  const { url, drop } = await createTestDatabase(server);
  await migrate(url);
  const timeline = timelineOf(size);
  const [client, other] = await Promise.all([connect(url), connect(url)]);
  await client.query(`create unlogged table record as ${selectRecords(size, timeline, 1, 0)}`);
  await createMonths(client, timeline.months);
  for (const [index, { first, last }] of numbersByMonth(size, timeline).entries()) {
    const [from, to] = timeline.months.slice(index, index + 2) as [number, number];
    const month = `record_${monthSuffix(from)}`;
    await client.query(`create unlogged table ${month} as ${selectRecords(size, timeline, first, last)}`);
    const fill = async (connection: pg.Client, table: MonthlyTable): Promise<void> =>
      createPartition(connection, table, from, to, month);
    await Promise.all([
      fill(client, 'notification_log'),
      fill(other, 'notification_log_key')
        .then(() => fill(other, 'delivery_attempt'))
        .then(() => fill(other, 'audit_event')),
    ]);
    await client.query(`alter table ${month} inherit record`);
  }
  await client.query('select notification_create_partitions(2)');
  await Promise.all([fillEvents(client).then(() => fillStatistics(client, timeline)), fillInboxes(other)]);
  await client.query('drop table record cascade');
  for (const table of [...Object.keys(MONTHLY), 'event_idempotency', 'notification', 'inbox', 'delivery_statistic']) {
    await client.query(`vacuum analyze ${table}`);
  }
  await Promise.all([client.end(), other.end()]);
  return { ...size, ...timeline, url, drop };
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(
    `set synchronous_commit = off; set maintenance_work_mem = '512MB'; set work_mem = '256MB';
     set client_min_messages = warning`,
  );
  return client;
}

/** Replaces the oldest partition, which in a new database holds everything up to the next month. */
async function createMonths(client: pg.Client, [oldest = 0]: number[]): Promise<void> {
  for (const table of Object.keys(MONTHLY) as MonthlyTable[]) {
    await client.query(`drop table ${table}_history`);
    await createPartition(client, table, undefined, oldest);
  }
}

/** Creates a partition as the product does. Fills it before the attachment creates its indexes, which is much faster. */
async function createPartition(
  client: pg.Client,
  table: MonthlyTable,
  from: number | undefined,
  to: number,
  records?: string,
): Promise<void> {
  const part = `${table}_${from === undefined ? 'history' : monthSuffix(from)}`;
  const { columns, query } = MONTHLY[table];
  await client.query('begin');
  await client.query(`create table ${part} (like ${table} including defaults including constraints)
    with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)`);
  if (records !== undefined) await client.query(`insert into ${part} (${columns}) ${query(records)}`);
  await client.query(`
    alter table ${part} owner to notif_owner;
    alter table ${part} enable row level security;
    alter table ${part} force row level security;
    alter table ${table} attach partition ${part} ${boundsOf(from, to)}`);
  await client.query('commit');
}

const fillEvents = (client: pg.Client): Promise<void> =>
  withoutIndexes(client, 'event_idempotency', async () => {
    await client.query('insert into event_idempotency select tenant_id, event_id, id from record');
  });

async function fillInboxes(client: pg.Client): Promise<void> {
  await withoutIndexes(client, 'notification', async () => {
    await client.query(
      `insert into notification (id, tenant_id, user_id, created_seq, seq, log_id, type, category, title, body,
         recipient_scope, created_at, read_at)
       select gen_random_uuid(), tenant_id, user_id, nth, nth, id, 'order.paid', 'orders', 'Your order',
         'Order ' || nth || ' was paid in full. Thank you; the receipt is on its way.', 'users', at,
         case when nth % 3 > 0 then at end
       from (
         select tenant_id, user_id, id, at, row_number() over (partition by tenant_id, user_id order by n) as nth
         from record where channel = 'in_app'
         union all
         select $1, $2, gen_random_uuid(), now(), n from generate_series(1, $3::int) n
       ) entry order by at`,
      [BIG_TENANT, READER, READER_NOTIFICATIONS],
    );
  });
  await client.query(`insert into inbox (tenant_id, user_id, last_seq, unread_count)
    select tenant_id, user_id, max(seq), count(*) filter (where read_at is null) from notification group by 1, 2`);
}

/** Fills a table without its indexes and creates these afterwards. */
async function withoutIndexes(client: pg.Client, table: string, fill: () => Promise<void>): Promise<void> {
  const { rows: constraints } = await client.query<{ name: string; definition: string }>(
    `select conname as name, pg_get_constraintdef(oid) as definition from pg_constraint
     where conrelid = $1::regclass and contype in ('p', 'u')`,
    [table],
  );
  const { rows: indexes } = await client.query<{ name: string; definition: string }>(
    `select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition from pg_index
     where indrelid = $1::regclass and not exists (select from pg_constraint where conindid = indexrelid)`,
    [table],
  );
  for (const { name } of constraints) await client.query(`alter table ${table} drop constraint ${name}`);
  for (const { name } of indexes) await client.query(`drop index ${name}`);
  await fill();
  for (const { name, definition } of constraints) {
    await client.query(`alter table ${table} add constraint ${name} ${definition}`);
  }
  for (const { definition } of indexes) await client.query(definition);
}

/** Computes the statistics with the SQL of the product, in one statement instead of one per tenant and day. */
async function fillStatistics(client: pg.Client, { months }: Timeline): Promise<void> {
  const since = new Date(months.at(-STATISTICS_MONTHS - 1) as number).toISOString();
  const records = `(select * from notification_log where created_at >= '${since}'
    and (tenant_id = '${BIG_TENANT}' or tenant_id < '${STATISTICS_BELOW}'))`;
  await client.query(`insert into delivery_statistic (${STATISTIC_COLUMNS})
    ${sumByLevel(`(${countByGroup(`${records} as log`)})`)}`);
}
