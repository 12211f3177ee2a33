import type { Database } from '../database/database.ts';
import { validationFailed } from '../errors.ts';
import type { Channel } from '../intake/channel.ts';
import { type Histogram, NOT_SENT, percentiles } from './statistics-buckets.ts';
import { NO_TEMPLATE } from './statistics-deltas.ts';
import type { LogStatus } from './status.ts';

export const DIMENSIONS = ['channel', 'status', 'event_code', 'template', 'hour', 'day'] as const;
export type Dimension = (typeof DIMENSIONS)[number];

/** Counts of one group of finished notifications. Dimensions that are not grouped by are null. */
export interface Statistic {
  channel: Channel | null;
  status: LogStatus | null;
  eventCode: string | null;
  templateId: string | null;
  /** Start of the hour or day (UTC) in which the notifications were accepted. */
  periodStart: Date | null;
  count: number;
  sent: number;
  /** Median time from the due time to sending, in milliseconds, within 10 %; null if no notification was sent. */
  p50Ms: number | null;
  p95Ms: number | null;
}

export interface StatisticsRange {
  /** Rounded down to the full hour. */
  from: Date;
  /** Exclusive. Rounded up to the full hour. */
  to: Date;
}

/** Maximum range, in days. Bounds the number of rows that a query reads. */
const MAX_DAYS = 92;
const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
/** Maximum number of groups in a result. */
export const MAX_GROUPS = 1_000;

/** The planner expects too many rows of a level. To start parallel workers or the JIT would take longer than to read. */
const PLAN_FOR_FEW_ROWS = `select set_config('max_parallel_workers_per_gather', '0', true), set_config('jit', 'off', true)`;

/** Columns of `part`. */
const EXPRESSIONS: Record<Dimension, string> = {
  channel: `nullif(channel, '')`,
  status: 'status',
  event_code: 'event_code',
  template: `nullif(template_id, '${NO_TEMPLATE}')`,
  hour: 'period',
  day: 'period',
};

/**
 * Counts the finished notifications that were accepted in a time range by group, except test notifications. Reads only
 * rollups: full days from the rows of days, other hours from those of hours.
 *
 * @throws `validation_failed` if the range is empty or too long, or if there are more than `MAX_GROUPS` groups.
 */
export async function deliveryStatistics(
  database: Database,
  tenantId: string,
  range: StatisticsRange,
  groupBy: readonly Dimension[] = [],
): Promise<Statistic[]> {
  checkRange(range);
  const has = (dimension: Dimension): boolean => groupBy.includes(dimension);
  if (has('hour') && has('day'))
    throw validationFailed([{ path: 'groupBy', message: 'must not contain both hour and day' }]);
  const rows = await database.asTenant(tenantId, async (tx) => {
    await tx.query(PLAN_FOR_FEW_ROWS);
    return tx.query<Omit<Statistic, 'p50Ms' | 'p95Ms'> & Histogram>(selectGroups(groupBy), [
      tenantId,
      ...readRanges(range, has('hour')),
    ]);
  });
  if (rows.length > MAX_GROUPS) {
    const message = `results in more than ${MAX_GROUPS} groups; use fewer dimensions or a shorter time range`;
    throw validationFailed([{ path: 'groupBy', message }]);
  }
  return rows.map(({ buckets, counts, ...group }) => {
    const [p50Ms = null, p95Ms = null] = percentiles({ buckets, counts }, [0.5, 0.95]);
    return { ...group, p50Ms, p95Ms };
  });
}

function checkRange({ from, to }: StatisticsRange): void {
  const days = (to.getTime() - from.getTime()) / DAY_MS;
  if (!(days > 0)) throw validationFailed([{ path: 'to', message: 'must be later than from' }]);
  if (days > MAX_DAYS) throw validationFailed([{ path: 'to', message: `must be at most ${MAX_DAYS} days after from` }]);
}

/** Returns start and end of the range, and of its part that is read from rows of days, which may be empty. */
function readRanges({ from, to }: StatisticsRange, isByHour: boolean): [Date, Date, Date, Date] {
  const start = Math.floor(from.getTime() / HOUR_MS) * HOUR_MS;
  const end = Math.ceil(to.getTime() / HOUR_MS) * HOUR_MS;
  const firstDay = Math.ceil(start / DAY_MS) * DAY_MS;
  const lastDay = Math.floor(end / DAY_MS) * DAY_MS;
  const hasDays = !isByHour && firstDay < lastDay;
  const [daysStart, daysEnd] = hasDays ? [firstDay, lastDay] : [start, start];
  return [new Date(start), new Date(end), new Date(daysStart), new Date(daysEnd)];
}

/** One statement has one snapshot: it counts each delta either as such or in the rows to which it was added. */
function selectGroups(groupBy: readonly Dimension[]): string {
  const has = (dimension: Dimension): boolean => groupBy.includes(dimension);
  const column = (dimension: Dimension, type: string): string =>
    has(dimension) ? EXPRESSIONS[dimension] : `null::${type}`;
  const detail = has('event_code') || has('template') ? '' : has('channel') ? '_channel' : '_total';
  const level = (period: 'hour' | 'day'): string => `'${period}${detail}'`;
  const startOf = (hour: string): string => (has('day') ? `date_trunc('day', ${hour}, 'UTC')` : hour);
  const dimensions = DIMENSIONS.filter(has);
  const names: Record<Dimension, string> = {
    channel: 'channel',
    status: 'status',
    event_code: '"eventCode"',
    template: '"templateId"',
    hour: '"periodStart"',
    day: '"periodStart"',
  };
  const keys = dimensions.map((dimension) => names[dimension]).join(', ');
  const columns = 'event_code, channel, status, template_id, bucket, count';
  return `
    with part as (
      select starts_at as period, ${columns} from delivery_statistic
      where tenant_id = $1 and level = ${level('day')} and starts_at >= $4 and starts_at < $5
      union all
      select ${startOf('starts_at')}, ${columns} from delivery_statistic
      where tenant_id = $1 and level = ${level('hour')} and starts_at >= $2 and starts_at < $4
      union all
      select ${startOf('starts_at')}, ${columns} from delivery_statistic
      where tenant_id = $1 and level = ${level('hour')} and starts_at >= $5 and starts_at < $3
      union all
      select ${startOf('hour')}, ${columns} from delivery_statistic_delta where tenant_id = $1 and hour >= $2 and hour < $3
    ), histogram as (
      select ${column('channel', 'text')} as channel, ${column('status', 'text')} as status,
        ${column('event_code', 'text')} as "eventCode", ${column('template', 'uuid')} as "templateId",
        ${has('hour') ? EXPRESSIONS.hour : column('day', 'timestamptz')} as "periodStart", bucket, sum(count)::int as count
      from part group by 1, 2, 3, 4, 5, bucket having sum(count) > 0
    )
    select channel, status, "eventCode", "templateId", "periodStart", sum(count)::int as count,
      coalesce(sum(count) filter (where bucket > ${NOT_SENT}), 0)::int as sent,
      coalesce(array_agg(bucket) filter (where bucket > ${NOT_SENT}), '{}') as buckets,
      coalesce(array_agg(count) filter (where bucket > ${NOT_SENT}), '{}') as counts
    from histogram group by 1, 2, 3, 4, 5 ${keys === '' ? '' : `order by ${keys}`} limit ${MAX_GROUPS + 1}`;
}
