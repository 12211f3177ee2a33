import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { openDatabase } from '../../src/database/database.ts';
import { bucketValue } from '../../src/delivery/statistics-buckets.ts';
import { rebuildStatistics } from '../../src/delivery/statistics-rebuild.ts';
import { createLog } from '../../src/log.ts';
import { StatisticsDocument } from '../generated/operations.ts';
import { query, run } from '../support/client.ts';
import { startTestService, type TestService } from '../support/service.ts';
import { sql } from '../support/sql.ts';

const TENANT = 'tenant-statistics';
const FROM = '2026-03-01T00:00:00Z';
const TO = '2026-03-03T00:00:00Z';
/** Values of the buckets of 4 and 8 seconds. */
const [FOUR_SECONDS, EIGHT_SECONDS] = [bucketValue(46), bucketValue(50)];

describe('delivery statistics', () => {
  let service: TestService;
  let token: string;
  beforeAll(async () => {
    service = await startTestService({ DELIVERY_MODE: 'hold' });
    token = await service.token({ tenant_id: TENANT, permissions: ['notif.read.log'] });
    // Ten a day: sent by email after n seconds, or failed by SMS. Plus a test, another tenant, and the days before and
    // after.
    await sql(
      service.databaseUrl,
      `insert into notification_log (id, tenant_id, event_id, event_type, event_code, is_test, channels, channel,
         recipient, params, status, created_at, scheduled_at, sent_at, trace_id, event_created_at)
       select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' ||
           substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid,
         tenant, gen_random_uuid(), 'notification.triggered.v1', 'user.welcome', is_test,
         '{email}', case when n % 2 = 0 then 'email' else 'sms' end, '{}', '{}',
         case when n % 2 = 0 then 'sent' else 'failed' end, at, at,
         case when n % 2 = 0 then at + n * interval '1 second' end, 'trace', at
       from generate_series(0, 9) n, generate_series(timestamptz '2026-02-28', '2026-03-03', '1 day') day,
         (values ('${TENANT}', false), ('${TENANT}', true), ('tenant-other', false)) as kind (tenant, is_test),
         lateral (select day + n * interval '1 hour' as at) as moment`,
    );
    const database = openDatabase({ url: service.env['DATABASE_URL'] as string, log: createLog('silent') });
    await rebuildStatistics(database);
    await database.close();
  });
  afterAll(() => service.close());

  const nothing = { channel: null, status: null, eventCode: null, templateId: null, periodStart: null };
  const ask = async (groupBy?: ('CHANNEL' | 'STATUS' | 'EVENT_CODE' | 'DAY' | 'HOUR')[], from = FROM, to = TO) =>
    (await query(service.url, token, StatisticsDocument, { from, to, ...(groupBy && { groupBy }) })).deliveryStatistics;

  it('count the requested time range of the tenant, without tests', async () => {
    expect(await ask()).toEqual([{ ...nothing, count: 20, sent: 10, p50Ms: FOUR_SECONDS, p95Ms: EIGHT_SECONDS }]);
    expect(await ask(undefined, '2020-01-01T00:00:00Z', '2020-01-02T00:00:00Z')).toEqual([]);
  });

  it('are grouped by the requested dimensions', async () => {
    expect(await ask(['STATUS', 'CHANNEL'])).toEqual([
      { ...nothing, channel: 'EMAIL', status: 'SENT', count: 10, sent: 10, p50Ms: FOUR_SECONDS, p95Ms: EIGHT_SECONDS },
      { ...nothing, channel: 'SMS', status: 'FAILED', count: 10, sent: 0, p50Ms: null, p95Ms: null },
    ]);
    const days = await ask(['DAY']);
    expect(days.map(({ periodStart, count }) => [periodStart, count])).toEqual([
      ['2026-03-01T00:00:00.000Z', 10],
      ['2026-03-02T00:00:00.000Z', 10],
    ]);
    expect(await ask(['HOUR', 'EVENT_CODE'])).toHaveLength(20);
  });

  it('round the start down and the end up to the full hour', async () => {
    expect(await ask(['DAY'], '2026-02-28T08:59:59Z', '2026-03-02T01:00:01Z')).toMatchObject([
      { periodStart: '2026-02-28T00:00:00.000Z', count: 2 },
      { periodStart: '2026-03-01T00:00:00.000Z', count: 10 },
      { periodStart: '2026-03-02T00:00:00.000Z', count: 2 },
    ]);
    expect(await ask(undefined, '2026-03-01T03:10:00Z', '2026-03-01T03:20:00Z')).toMatchObject([{ count: 1, sent: 0 }]);
  });

  it('have the same counts by event code as in total', async () => {
    const [from, to] = ['2026-02-28T05:00:00Z', '2026-03-03T05:00:00Z'];
    const [total] = await ask(undefined, from, to);
    expect(await ask(['EVENT_CODE'], from, to)).toEqual([{ ...total, eventCode: 'user.welcome' }]);
    expect(total).toMatchObject({ count: 30, sent: 15 });
  });

  it.each([
    ['a range that ends before it starts', { from: TO, to: FROM }],
    ['more than 92 days', { from: FROM, to: '2026-06-02T00:00:00Z' }],
    ['hours and days together', { from: FROM, to: TO, groupBy: ['HOUR' as const, 'DAY' as const] }],
  ])('refuse %s', async (_what, variables) => {
    const { status, errors } = await run(service.url, token, StatisticsDocument, variables);
    expect(status).toBe(400);
    expect(errors).toMatchObject([{ extensions: { error_code: 'validation_failed' } }]);
  });
});
