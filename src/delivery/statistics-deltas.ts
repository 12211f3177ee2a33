import { NIL } from 'uuid';

import { BUCKET } from './statistics-buckets.ts';

/** Template id of notifications without a template, because a column of the primary key cannot be null. */
export const NO_TEMPLATE = NIL;

/** Condition for rows of `notification_log` that the statistics count. */
const IS_COUNTED = `status not in ('queued', 'sending', 'retrying') and not is_test`;

/** Columns of a group, in the order of `delivery_statistic_delta`. */
const GROUP = 'tenant_id, hour, event_code, channel, status, template_id, bucket';

/**
 * Returns SQL that counts finished notifications by group.
 *
 * @param source SQL for a table expression with the columns of `notification_log`.
 */
export const countByGroup = (source: string): string => `
  select ${GROUP}, count(*)::int as count
  from (
    select tenant_id, date_trunc('hour', created_at, 'UTC') as hour, event_code, coalesce(channel, '') as channel, status,
      coalesce(template_id, '${NO_TEMPLATE}') as template_id, ${BUCKET} as bucket
    from ${source} where ${IS_COUNTED}
  ) as finished
  group by ${GROUP}`;

/**
 * Returns a statement that adds finished notifications to the statistics, or removes them. It must run in the transaction
 * that changes the statuses.
 *
 * @param source SQL for a table expression with the columns of `notification_log`.
 */
export const changeStatistics = (change: 'add' | 'remove', source: string): string => `
  insert into delivery_statistic_delta (${GROUP}, count)
  select ${GROUP}, ${change === 'add' ? 'count' : '-count'} from (${countByGroup(source)}) as counted`;

/** Columns of `delivery_statistic`, as `sumByLevel` returns them. */
export const STATISTIC_COLUMNS = 'tenant_id, level, starts_at, event_code, channel, status, template_id, bucket, count';

/**
 * Returns SQL for the rows of `delivery_statistic` that groups add up to, in all levels, in the order of the key.
 *
 * @param source SQL for a table expression with the columns of `delivery_statistic_delta`.
 */
export const sumByLevel = (source: string): string => `
  select counted.tenant_id, level, starts_at, detail.event_code, detail.channel, counted.status, detail.template_id,
    counted.bucket, sum(counted.count)::int as count
  from ${source} as counted cross join lateral (values
    ('hour', hour, event_code, channel, template_id),
    ('day', date_trunc('day', hour, 'UTC'), event_code, channel, template_id),
    ('hour_channel', hour, '', channel, '${NO_TEMPLATE}'),
    ('day_channel', date_trunc('day', hour, 'UTC'), '', channel, '${NO_TEMPLATE}'),
    ('hour_total', hour, '', '', '${NO_TEMPLATE}'),
    ('day_total', date_trunc('day', hour, 'UTC'), '', '', '${NO_TEMPLATE}')
  ) as detail (level, starts_at, event_code, channel, template_id)
  group by 1, 2, 3, 4, 5, 6, 7, 8 order by 1, 2, 3, 4, 5, 6, 7, 8`;
