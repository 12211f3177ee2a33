import type { Database } from '../database/database.ts';
import { validationFailed } from '../errors.ts';
import { firstIdOf } from '../ids.ts';
import type { Channel } from '../intake/channel.ts';
import type { LogStatus } from './status.ts';

export const DIMENSIONS = ['channel', 'status', 'event_code', 'template', 'hour', 'day'] as const;
export type Dimension = (typeof DIMENSIONS)[number];

/** Counts of one group of notifications. Dimensions that are not grouped by are null. */
export interface Statistic {
  channel: Channel | null;
  status: LogStatus | null;
  eventCode: string | null;
  templateId: string | null;
  /** Start of the hour or day (UTC) in which the notifications were accepted. */
  periodStart: Date | null;
  count: number;
  sent: number;
  /** Median time from the due time to sending, in milliseconds; null if no notification was sent. */
  p50Ms: number | null;
  p95Ms: number | null;
}

export interface StatisticsRange {
  from: Date;
  /** Exclusive. */
  to: Date;
}

/** Maximum range, in days. Bounds the number of rows that a query reads. */
const MAX_DAYS = 92;
const DAY_MS = 86_400_000;
/** Maximum number of groups in a result. */
export const MAX_GROUPS = 1_000;

const EXPRESSIONS: Record<Dimension, string> = {
  channel: 'log.channel',
  status: 'log.status',
  event_code: 'log.event_code',
  template: 'log.template_id',
  hour: `date_trunc('hour', log.created_at, 'UTC')`,
  day: `date_trunc('day', log.created_at, 'UTC')`,
};

/**
 * Counts the notifications accepted in a time range by group, except test notifications.
 *
 * @throws `validation_failed` if the range is empty or too long, or if there are more than `MAX_GROUPS` groups.
 */
export async function deliveryStatistics(
  database: Database,
  tenantId: string,
  { from, to }: StatisticsRange,
  groupBy: readonly Dimension[] = [],
): Promise<Statistic[]> {
  const days = (to.getTime() - from.getTime()) / DAY_MS;
  if (!(days > 0)) throw validationFailed([{ path: 'to', message: 'must be later than from' }]);
  if (days > MAX_DAYS) throw validationFailed([{ path: 'to', message: `must be at most ${MAX_DAYS} days after from` }]);
  const has = (dimension: Dimension): boolean => groupBy.includes(dimension);
  if (has('hour') && has('day'))
    throw validationFailed([{ path: 'groupBy', message: 'must not contain both hour and day' }]);

  const dimensions = DIMENSIONS.filter(has);
  const column = (dimension: Dimension, type: string): string =>
    has(dimension) ? EXPRESSIONS[dimension] : `null::${type}`;
  const period = has('hour') ? EXPRESSIONS.hour : column('day', 'timestamptz');
  const groups = dimensions.map((dimension) => EXPRESSIONS[dimension]).join(', ');
  const latency = `extract(epoch from log.sent_at - greatest(log.created_at, log.scheduled_at)) * 1000`;
  const rows = await database.asTenant(tenantId, (tx) =>
    tx.query<Statistic>(
      `select ${column('channel', 'text')} as channel, ${column('status', 'text')} as status,
         ${column('event_code', 'text')} as "eventCode", ${column('template', 'uuid')} as "templateId",
         ${period} as "periodStart", count(*)::int as count, count(log.sent_at)::int as sent,
         percentile_cont(0.5) within group (order by ${latency})::float8 as "p50Ms",
         percentile_cont(0.95) within group (order by ${latency})::float8 as "p95Ms"
       from notification_log log
       where log.tenant_id = $1 and log.id >= $2 and log.id < $3 and log.created_at >= $4 and log.created_at < $5
         and not log.is_test
       ${groups === '' ? 'having count(*) > 0' : `group by ${groups} order by ${groups}`} limit ${MAX_GROUPS + 1}`,
      // Ids are ordered by time and indexed. The margin of a day covers ids that are older than their row.
      [tenantId, firstIdOf(from.getTime() - DAY_MS), firstIdOf(to.getTime() + DAY_MS), from, to],
    ),
  );
  if (rows.length <= MAX_GROUPS) return rows;
  throw validationFailed([
    {
      path: 'groupBy',
      message: `results in more than ${MAX_GROUPS} groups; use fewer dimensions or a shorter time range`,
    },
  ]);
}
