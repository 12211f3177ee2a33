/** Owner of half of the records. */
export const BIG_TENANT = 'tenant-big';

export interface Size {
  rows: number;
  tenants: number;
}

/** Number of records of each user of the big tenant, and of its records with the rare status `expired`, at every size. */
const PER_USER = 50;
const RARE = 400;
const MONTHS = 12;
const HOUR_MS = 3_600_000;

/** Returns the ids of all tenants. */
export const tenantNames = (tenants: number): string[] => [
  ...Array.from({ length: tenants - 1 }, (_none, index) => `tenant-${String(index).padStart(5, '0')}`),
  BIG_TENANT,
];

/** Name of a month in the names of partitions. */
export const monthSuffix = (month: number): string => new Date(month).toISOString().slice(0, 7).replace('-', '_');

/** The moments of the records. */
export interface Timeline {
  /** First moments of the months, in milliseconds since 1970, and that of the month after the last one. */
  months: number[];
  /** Time between two records, in milliseconds. */
  stepMs: number;
}

/** Spreads records over the last twelve months. The last hour is left to the measurements. */
export function timelineOf({ rows }: Size): Timeline {
  const now = new Date();
  const months = Array.from({ length: MONTHS + 1 }, (_none, index) =>
    Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - MONTHS + 1 + index),
  );
  return { months, stepMs: (now.getTime() - HOUR_MS - (months[0] as number)) / rows };
}

/** Returns the first and the last number of the records of each month. */
export function numbersByMonth({ rows }: Size, { months, stepMs }: Timeline): { first: number; last: number }[] {
  const firstAt = (moment: number): number => Math.max(1, Math.ceil((moment - (months[0] as number)) / stepMs));
  return months.slice(0, -1).map((month, index) => ({
    first: firstAt(month),
    last: Math.min(rows, firstAt(months[index + 1] as number) - 1),
  }));
}

const hash = (salt: number): string => `(hashint8extended(n, ${salt}) & 2147483647)`;
const oneOf = (values: string[], salt: number): string =>
  `(array[${values.map((value) => `'${value}'`).join(', ')}])[1 + ${hash(salt)} % ${values.length}]`;

const CODES = oneOf(
  `user.welcome user.reset order.paid order.shipped order.refunded sale.closed sale.opened payment.failed payment.received
   marketing.news`.split(/\s+/),
  2,
);
const CHANNELS = oneOf(['email', 'sms', 'push', 'in_app', 'webhook'], 3);

/**
 * Returns the SELECT of the records between two numbers. They are computed from their numbers. Users, traces and rare
 * statuses have the same number of records at every size.
 */
export function selectRecords(size: Size, { months, stepMs }: Timeline, first: number, last: number): string {
  const users = Math.max(1, Math.round(size.rows / 2 / PER_USER));
  return `
    select n, (lpad(to_hex(ms), 12, '0') || '7' || substr(random, 1, 3) || '8' || substr(random, 4, 15))::uuid as id,
      case when n % 2 = 0 then '${BIG_TENANT}' else 'tenant-' || lpad((${hash(1)} % ${size.tenants - 1})::text, 5, '0') end
        as tenant_id,
      (substr(random, 18, 12) || '4' || substr(random, 1, 3) || '8' || substr(random, 4, 15))::uuid as event_id,
      to_timestamp(ms / 1000.0) as at, ${CODES} as event_code, ${CHANNELS} as channel,
      case when n % ${Math.round(size.rows / RARE / 2) * 2} = 0 then 'expired' when n % 997 = 0 then 'suppressed'
        when n % 53 = 0 then 'failed' when n % 31 = 0 then 'sent_fallback' else 'sent' end as status,
      n % 200 = 198 as is_test, 'user-' || n / 2 % ${users} as user_id, 'p' || n / 2 % ${users} || '@example.com' as email,
      'trace-' || n / 6 as trace_id, (300 + ${hash(4)} % 900) * interval '1 millisecond' as latency
    from (
      select n, ${months[0]} + floor(n * '${stepMs}'::float8)::bigint as ms, md5(n::text) as random
      from generate_series(${first}, ${last}) n offset 0
    ) numbered`;
}

const hashed = (value: string, records: string): string =>
  `select tenant_id, encode(substr(sha256(convert_to(${value}, 'UTF8')), 1, 16), 'hex')::uuid, id from ${records}`;

/** The partitioned tables, with the columns and the query that fill them from a table of records. */
export const MONTHLY = {
  notification_log: {
    columns: `id, tenant_id, event_id, event_type, event_code, is_test, channels, channel, recipient, params, status, attempts,
      trace_id, event_created_at, created_at, updated_at, scheduled_at, due_at, sent_at`,
    query: (
      records: string,
    ) => `select id, tenant_id, event_id, 'notification.triggered.v2', event_code, is_test, array[channel], channel,
        jsonb_build_object('user_id', user_id, 'email', email), jsonb_build_object('name', 'Nguyễn Văn A', 'order', n),
        status, 1, trace_id, at, at, at + latency, at, at, case when status in ('sent', 'sent_fallback') then at + latency end
      from ${records}`,
  },
  notification_log_key: {
    columns: 'tenant_id, key, log_id',
    query: (records: string) =>
      [
        hashed(`'trace' || E'\\n' || tenant_id || E'\\n' || trace_id`, records),
        hashed(`'user' || E'\\n' || tenant_id || E'\\n' || user_id`, records),
        hashed(`'["' || tenant_id || '","email","' || email || '"]'`, records),
      ].join(' union all '),
  },
  delivery_attempt: {
    columns: 'log_id, number, tenant_id, channel, provider, started_at, duration_ms, outcome, provider_message_id',
    query: (
      records: string,
    ) => `select id, 1, tenant_id, channel, 'smtp', at, 20, case when status like 'sent%' then 'ok' else 'permanent' end,
        case when status like 'sent%' then 'message-' || n end
      from ${records}`,
  },
  audit_event: {
    columns: 'id, tenant_id, action, trace_id, details, timestamp',
    query: (records: string) =>
      `select id, tenant_id, 'notification.sent', trace_id, jsonb_build_object('event_code', event_code), at from ${records}`,
  },
};
export type MonthlyTable = keyof typeof MONTHLY;

/** The smallest UUID of a moment, which is the bound between two partitions. */
const lowestId = (moment: number): string => moment.toString(16).padStart(12, '0').padEnd(32, '0');

/** Returns the bounds of a partition in SQL. */
export const boundsOf = (from: number | undefined, to: number): string =>
  `for values from (${from === undefined ? 'minvalue' : `'${lowestId(from)}'`}) to ('${lowestId(to)}')`;
