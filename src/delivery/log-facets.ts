import { validationFailed } from '../errors.ts';
import { CHANNELS } from '../intake/channel.ts';
import {
  conditionsOf,
  createParameters,
  direction,
  given,
  inRange,
  type LogFilter,
  type LogSearch,
} from './log-filter.ts';
import { isTerminal, LOG_STATUSES, type LogStatus } from './status.ts';

/** Maximum number of event codes with one prefix. Bounds the number of index ranges. */
const MAX_CODES = 500;
/** True for conditions whose values are few. */
export const isFaceted = ({ statuses, channels, eventCode, eventCodePrefix }: LogFilter): boolean =>
  [statuses, channels, eventCode, eventCodePrefix].some(given);

const list = (statuses: readonly LogStatus[]): string => statuses.map((status) => `'${status}'`).join(', ');
const OPEN = LOG_STATUSES.filter((status) => !isTerminal(status));
const ENDED = LOG_STATUSES.filter(isTerminal);
const IS_OPEN = `log.status in (${list(OPEN)})`;
const IS_ENDED = `log.status in (${list(ENDED)})`;

interface FacetOptions {
  limit?: number;
  /** False to read any records up to the limit. */
  isOrdered?: boolean;
  /** The other conditions, which are applied to each record. */
  rest?: LogFilter;
}

/**
 * Reads the first records of each combination of the wanted statuses, channels and event codes.
 *
 * Each order names `is_test`, a column of these indexes whose value the planner does not know to be constant. Otherwise it
 * could as well read the newest records and search them for a rare value.
 */
export async function readFacets(
  search: LogSearch,
  { limit = search.query.limit, isOrdered = true, rest = search.filter }: FacetOptions = {},
): Promise<string[]> {
  const { tx, tenantId, filter } = search;
  const codes = await codesOf(search);
  const parameters = createParameters(tenantId);
  const { add } = parameters;
  const order = direction(search);
  const maximum = add(limit);
  const range = inRange('log.id', search, parameters);
  const { createdAfter, createdBefore } = filter;
  const created = conditionsOf(tenantId, { createdAfter, createdBefore }, parameters).map((one) => ` and ${one}`);
  const tests = given(rest.isTest) ? [rest.isTest] : [false, true];
  /** @param orderBy columns of the index that the planner does not know to be constant. */
  const first = (values: string, condition: string, orderBy = ''): string[] =>
    tests.map(
      (isTest) => `select found.id from ${values} cross join lateral (
        select log.id from notification_log log
        where log.tenant_id = $1 and ${condition} and log.is_test is ${isTest}${range}${created.join('')}
        order by ${orderBy}log.is_test ${order}, log.id ${order} limit ${maximum}) found`,
    );

  const byCode = codes && `unnest(${add(codes)}::text[]) as wanted_code`;
  const parts: string[] = [];
  if (given(filter.statuses) || given(filter.channels)) {
    const isCode = byCode ? ' and log.event_code = wanted_code' : '';
    const isStatus = `log.status = wanted_status${isCode}`;
    const valuesOf = (all: readonly LogStatus[]): string =>
      [
        ...(byCode ? [byCode] : []),
        `unnest(${add(filter.statuses?.filter((status) => all.includes(status)) ?? all)}::text[]) as wanted_status`,
      ].join(' cross join ');
    if (filter.statuses?.some(isTerminal) ?? true) {
      const values = valuesOf(ENDED);
      const ofChannel = `${values} cross join unnest(${add(filter.channels ?? CHANNELS)}::text[]) as wanted_channel`;
      parts.push(...first(ofChannel, `${IS_ENDED} and ${isStatus} and log.channel = wanted_channel`));
      if (!given(filter.channels)) {
        parts.push(...first(values, `${IS_ENDED} and ${isStatus} and log.channel is null`, `log.channel ${order}, `));
      }
    }
    if (filter.statuses?.some((status) => !isTerminal(status)) ?? true) {
      const isChannel = given(filter.channels) ? ` and log.channel = any(${add(filter.channels)}::text[])` : '';
      parts.push(...first(valuesOf(OPEN), `${IS_OPEN} and ${isStatus}${isChannel}`));
    }
  } else if (byCode) {
    parts.push(...first(byCode, 'log.event_code collate "C" = wanted_code'));
  }
  if (parts.length === 0) return [];
  const rows = await tx.queryPlanned<{ id: string }>(
    `select id from (${parts.join(' union all ')}) found ${isOrdered ? `order by id ${order}` : ''} limit ${maximum}`,
    parameters.values,
  );
  return rows.map(({ id }) => id);
}

/** Lists the event codes with a prefix by jumping through the index. */
const SELECT_CODES = `with recursive known (code, nth) as (
    (select event_code, 1 from notification_log
     where tenant_id = $1 and event_code collate "C" >= $2 and event_code collate "C" < $2 || chr(1114111)
     order by event_code collate "C" limit 1)
    union all
    select next.event_code, known.nth + 1 from known cross join lateral (
      select event_code from notification_log log
      where log.tenant_id = $1 and log.event_code collate "C" > known.code
        and log.event_code collate "C" < $2 || chr(1114111)
      order by log.event_code collate "C" limit 1
    ) as next where known.nth <= ${MAX_CODES}
  )
  select code from known`;

/** @returns undefined without a condition on the event code. */
async function codesOf({ tx, tenantId, filter }: LogSearch): Promise<string[] | undefined> {
  const { eventCode, eventCodePrefix } = filter;
  if (given(eventCode)) return eventCode.startsWith(eventCodePrefix ?? '') ? [eventCode] : [];
  if (!given(eventCodePrefix)) return undefined;
  const rows = await tx.queryPlanned<{ code: string }>(SELECT_CODES, [tenantId, eventCodePrefix]);
  if (rows.length <= MAX_CODES) return rows.map(({ code }) => code);
  throw validationFailed([
    {
      path: 'filter.eventCodePrefix',
      message: `matches more than ${MAX_CODES} event codes; use a longer prefix`,
    },
  ]);
}
