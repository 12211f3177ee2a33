import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Database, openDatabase, type Transaction } from '../../src/database/database.ts';
import type { LogFilter } from '../../src/delivery/log-filter.ts';
import { searchLogs } from '../../src/delivery/log-search.ts';
import type { LogStatus } from '../../src/delivery/status.ts';
import type { Channel } from '../../src/intake/channel.ts';
import { firstIdOf, newId } from '../../src/ids.ts';
import { addressKeys, searchKey } from '../../src/intake/search-key.ts';
import { createLog } from '../../src/log.ts';
import { idCursor, keysetQuery, type PageArgs } from '../../src/paging/page.ts';
import { testDatabase } from '../support/service.ts';
import { sql } from '../support/sql.ts';
import type { TestDatabase } from '../support/template-database.ts';

const TENANT = 'tenant-search';
const ROWS = 30_000;
const HOUR_MS = 3_600_000;
const START = Date.now() - ROWS * 60_000;

interface Record {
  id: string;
  eventId: string;
  eventCode: string;
  channel: Channel | null;
  status: LogStatus;
  isTest: boolean;
  traceId: string;
  userId: string;
  email: string;
  messageId: string | null;
  createdAt: Date;
}

/** One record a minute. Rare values are in old records, and common ones never meet in the same record. */
function recordOf(n: number): Record {
  const common: LogStatus = n % 2 === 0 ? 'sent' : 'failed';
  const status: LogStatus =
    n < 20 ? 'expired' : n < 40 ? 'retrying' : n > ROWS - 3_000 && n % 3 === 0 ? 'queued' : common;
  const channel = n === 77 ? 'webhook' : status === 'queued' ? null : n % 2 === 0 ? 'email' : 'sms';
  return {
    id: firstIdOf(START + n * 60_000).slice(0, 24) + n.toString(16).padStart(12, '0'),
    eventId: newId(),
    eventCode: n < 5 ? 'legacy.import' : `${n % 2 === 0 ? 'order' : 'user'}.${n % 7}`,
    channel,
    status,
    isTest: n % 900 === 1,
    traceId: `trace-${Math.floor(n / 3)}`,
    userId: n % 10 < 8 ? 'robot' : `user-${n % 500}`,
    email: n % 3 === 0 ? 'all@example.com' : `p${n}@example.com`,
    messageId: status === 'sent' ? `message-${n}` : null,
    createdAt: new Date(START + n * 60_000),
  };
}

const RECORDS = Array.from({ length: ROWS }, (_, n) => recordOf(n));

const FILTERS: LogFilter[] = [
  { statuses: ['expired'] },
  { statuses: ['retrying', 'expired'] },
  { statuses: ['sent'] },
  { statuses: ['queued'] },
  { statuses: [] },
  { channels: ['webhook'] },
  { channels: ['email', 'push'] },
  { eventCode: 'legacy.import' },
  { eventCode: 'user.3' },
  { eventCode: 'nothing' },
  { eventCodePrefix: 'legacy.' },
  { eventCodePrefix: 'order.' },
  { eventId: RECORDS[123]?.eventId },
  { traceId: 'trace-7' },
  { recipient: 'P10@example.com' },
  { recipient: 'all@example.com' },
  { userId: 'user-9' },
  { userId: 'robot' },
  { providerMessageId: 'message-100' },
  { isTest: true },
  { isTest: false },
  { createdAfter: new Date(START + 100 * HOUR_MS) },
  { createdBefore: new Date(START + 100 * HOUR_MS) },
];

const matches = (record: Record, filter: LogFilter): boolean =>
  (!filter.statuses || filter.statuses.includes(record.status)) &&
  (!filter.channels || (record.channel !== null && filter.channels.includes(record.channel))) &&
  (!filter.eventCode || record.eventCode === filter.eventCode) &&
  (!filter.eventCodePrefix || record.eventCode.startsWith(filter.eventCodePrefix)) &&
  (!filter.eventId || record.eventId === filter.eventId) &&
  (!filter.traceId || record.traceId === filter.traceId) &&
  (!filter.recipient || record.email === filter.recipient.toLowerCase()) &&
  (!filter.userId || record.userId === filter.userId) &&
  (!filter.providerMessageId || record.messageId === filter.providerMessageId) &&
  (typeof filter.isTest !== 'boolean' || record.isTest === filter.isTest) &&
  (!filter.createdAfter || record.createdAt >= filter.createdAfter) &&
  (!filter.createdBefore || record.createdAt < filter.createdBefore);

/** A node of `explain (analyze, format json)`. */
interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  'Rows Removed by Index Recheck'?: number;
  Plans?: PlanNode[];
}

/** Returns the rows that each scan of a table or partition has read. */
function scansOf(node: PlanNode): { node: string; relation: string; rows: number }[] {
  const relation = node['Relation Name'];
  const read =
    (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0)) *
    node['Actual Loops'];
  return [
    ...(relation === undefined ? [] : [{ node: node['Node Type'], relation, rows: read }]),
    ...(node.Plans ?? []).flatMap(scansOf),
  ];
}

describe('the search for delivery records', () => {
  let files: TestDatabase;
  let database: Database;
  beforeAll(async () => {
    files = await testDatabase();
    database = openDatabase({ url: files.loginUrl, log: createLog('silent'), poolSize: 2 });
    const rows = RECORDS.map((record) => ({
      ...record,
      keys: [
        searchKey('trace', TENANT, record.traceId),
        searchKey('user', TENANT, record.userId),
        ...addressKeys(TENANT, { email: record.email }),
      ],
    }));
    await sql(
      files.url,
      `with input as materialized (
         select * from jsonb_to_recordset($1::jsonb) as record (id uuid, "eventId" uuid, "eventCode" text, channel text,
           status text, "isTest" boolean, "traceId" text, "messageId" text, "createdAt" timestamptz, keys uuid[])
       ), logs as (
         insert into notification_log (id, tenant_id, event_id, event_type, event_code, is_test, channels, channel,
           recipient, params, status, trace_id, event_created_at, created_at)
         select id, '${TENANT}', "eventId", 'a', "eventCode", "isTest", '{}', channel, '{}', '{}', status, "traceId",
           "createdAt", "createdAt" from input
       ), events as (
         insert into event_idempotency select '${TENANT}', "eventId", id from input
       ), keys as (
         insert into notification_log_key select '${TENANT}', unnest(keys), id from input
       )
       insert into delivery_attempt (log_id, number, tenant_id, channel, provider, provider_message_id)
       select id, 1, '${TENANT}', 'email', 'smtp', "messageId" from input where "messageId" is not null`,
      [JSON.stringify(rows)],
    );
    await sql(files.url, 'analyze notification_log, notification_log_key, delivery_attempt, event_idempotency');
  });
  afterAll(async () => {
    await database.close();
    await files.drop();
  });

  const search = (filter: LogFilter, args: PageArgs, tenantId = TENANT): Promise<string[]> =>
    database.asTenant(tenantId, (tx) => searchLogs(tx, tenantId, filter, keysetQuery(args, idCursor)));

  const expected = (filter: LogFilter, { first, after, last, before }: PageArgs): string[] => {
    const found = RECORDS.filter(
      (record) => matches(record, filter) && (!after || record.id < after) && (!before || record.id > before),
    ).map(({ id }) => id);
    return last ? found.slice(0, last + 1) : found.toReversed().slice(0, (first ?? 20) + 1);
  };

  const PAGES: PageArgs[] = [
    { first: 5 },
    { first: 100, after: RECORDS[15_000]?.id },
    { last: 3, before: RECORDS[60]?.id },
  ];
  const encoded = ({ after, before, ...page }: PageArgs): PageArgs => ({
    ...page,
    ...(after && { after: idCursor.encode(after) }),
    ...(before && { before: idCursor.encode(before) }),
  });

  const withEach = (one: LogFilter): LogFilter[] =>
    FILTERS.slice(FILTERS.indexOf(one)).map((other) => ({ ...one, ...other }));

  it.each(FILTERS)('finds what matches %j, alone and with each other condition', async (one) => {
    for (const [index, filter] of withEach(one).entries()) {
      for (const page of index === 0 ? PAGES : PAGES.slice(index % 3, (index % 3) + 1)) {
        expect(await search(filter, encoded(page)), JSON.stringify({ filter, page })).toEqual(expected(filter, page));
      }
    }
  });

  it('finds nothing of another tenant', async () => {
    for (const filter of FILTERS) expect(await search(filter, { first: 20 }, 'tenant-other')).toEqual([]);
  });

  it('reads a bounded number of rows through indexes, for each condition and for each two', async () => {
    const explained = (tx: Transaction, scans: ReturnType<typeof scansOf>): Transaction => ({
      ...tx,
      query: async (text, values) => {
        const [plan] = await tx.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(
          `explain (analyze, format json, timing off) ${text}`,
          values,
        );
        scans.push(...scansOf((plan as { 'QUERY PLAN': [{ Plan: PlanNode }] })['QUERY PLAN'][0].Plan));
        return tx.query(text, values);
      },
    });
    for (const one of FILTERS) {
      for (const filter of withEach(one)) {
        const scans: ReturnType<typeof scansOf> = [];
        await database.asTenant(TENANT, (tx) =>
          searchLogs(explained(tx, scans), TENANT, filter, keysetQuery({ first: 20 }, idCursor)),
        );
        const read = scans.reduce((sum, { rows }) => sum + rows, 0);
        const whole = scans.filter(
          ({ node, relation, rows: count }) =>
            node === 'Seq Scan' &&
            relation.startsWith('notification_log_') &&
            !relation.startsWith('notification_log_key') &&
            count > 0,
        );
        expect(whole).toEqual([]);
        expect(read, JSON.stringify({ filter, scans: scans.filter(({ rows }) => rows > 0) })).toBeLessThan(20_000);
      }
    }
  });

  it('refuses a prefix of more than 500 event codes', async () => {
    await sql(
      files.url,
      `insert into notification_log (id, tenant_id, event_id, event_type, event_code, channels, recipient, params, status,
         trace_id, event_created_at)
       select gen_random_uuid(), 'tenant-codes', gen_random_uuid(), 'a', 'code.' || n % 501, '{}', '{}', '{}', 'sent', 't', now()
       from generate_series(1, 1100) n`,
    );
    const filter = { eventCodePrefix: 'code.', statuses: ['failed' as const] };
    await expect(search(filter, { first: 20 }, 'tenant-codes')).rejects.toThrow(/filter\.eventCodePrefix.*500/s);
    expect(await search({ ...filter, eventCodePrefix: 'code.1' }, { first: 20 }, 'tenant-codes')).toEqual([]);
  });
});
