import type { Transaction } from '../database/database.ts';
import { validationFailed } from '../errors.ts';
import { firstIdOf } from '../ids.ts';
import { CHANNELS } from '../intake/channel.ts';
import type { KeysetQuery } from '../paging/page.ts';
import { conditionsOf, createParameters, given, keysOf, type LogFilter, type Parameters } from './log-filter.ts';
import { isTerminal, LOG_STATUSES, type LogStatus } from './status.ts';

/**
 * Finds the delivery records of one page through an index, so that the time does not depend on the size of the table:
 *
 * 1. Without conditions, or if enough of the newest records match, these are read.
 * 2. A condition that few records match (a trace, a person, a message, tests) is read completely, and the others are
 *    applied to it. Counting up to a limit shows which one that is.
 * 3. Statuses, channels and event codes have few values each. Every combination is one range of an index, from which the
 *    first records are read and merged.
 * 4. If each condition is matched by many records, one index is read in order until the page is full.
 */
export async function searchLogs(
  tx: Transaction,
  tenantId: string,
  filter: LogFilter,
  query: KeysetQuery,
): Promise<string[]> {
  const search: Search = { tx, tenantId, filter, query, range: rangeOf(filter, query) };
  const narrow = narrowSources(search);
  if (narrow.length === 0) {
    const recent = await readRecent(search);
    if (recent.ids.length >= query.limit || recent.checked < RECENT) return recent.ids;
    return isFaceted(filter) ? readFacets(search) : readInOrder(search, newest(search));
  }
  const rarest = await rarestOf(search, narrow);
  if (rarest.count <= FEW) return readCompletely(search, rarest.source);
  if (!isFaceted(filter)) return readInOrder(search, rarest.source);
  if (narrow.length === 1 && filter.isTest === true) return readFacets(search);
  const facets = await readFacets(search, FEW + 1, {});
  return facets.length <= FEW ? matching(search, facets) : readInOrder(search, rarest.source);
}

interface Search {
  tx: Transaction;
  tenantId: string;
  filter: LogFilter;
  query: KeysetQuery;
  range: { above: string | undefined; below: string | undefined };
}

/** Number of newest records that are checked before an index is used. */
const RECENT = 1_000;
/** Maximum number of records of a condition that are all read. */
const FEW = 2_000;
/** Maximum number of event codes with one prefix. Bounds the number of index ranges. */
const MAX_CODES = 500;
/**
 * Tolerance of the time conditions, in milliseconds. Ids contain the time of the process, `created_at` is the time of the
 * database.
 */
const CLOCK_SKEW_MS = 300_000;

/** Returns the ids between which the page lies, from its cursors and the time conditions. */
function rangeOf({ createdAfter, createdBefore }: LogFilter, { after, before }: KeysetQuery): Search['range'] {
  const above = [before, given(createdAfter) ? firstIdOf(createdAfter.getTime() - CLOCK_SKEW_MS) : undefined];
  const below = [after, given(createdBefore) ? firstIdOf(createdBefore.getTime() + CLOCK_SKEW_MS) : undefined];
  return { above: above.filter(given).toSorted().at(-1), below: below.filter(given).toSorted()[0] };
}

/** Returns the condition of the range for a column with the id of a record. */
function inRange(column: string, { range: { above, below } }: Search, { add }: Parameters): string {
  return [
    above === undefined ? '' : ` and ${column} > ${add(above)}::uuid`,
    below === undefined ? '' : ` and ${column} < ${add(below)}::uuid`,
  ].join('');
}

const direction = ({ query }: Search): 'asc' | 'desc' => (query.isBackward ? 'asc' : 'desc');

/** A way to read ids of records through an index, as SQL without order and limit. $1 is the tenant. */
type Source = (parameters: Parameters) => string;

const newest =
  (search: Search): Source =>
  (parameters) =>
    `select log.id from notification_log log where log.tenant_id = $1${inRange('log.id', search, parameters)}`;

/** Sources of the conditions that usually match few records. */
function narrowSources(search: Search): Source[] {
  const { tenantId, filter } = search;
  const { eventId, providerMessageId, isTest } = filter;
  return [
    ...(given(eventId)
      ? [
          ({ add }: Parameters) => `select log_id as id from event_idempotency
            where tenant_id = $1 and event_id = ${add(eventId)}::uuid`,
        ]
      : []),
    ...(given(providerMessageId)
      ? [
          (parameters: Parameters) => `select log_id as id from delivery_attempt where tenant_id = $1
            and provider_message_id = ${parameters.add(providerMessageId)}${inRange('log_id', search, parameters)}`,
        ]
      : []),
    ...keysOf(tenantId, filter).map(
      (keys): Source =>
        (parameters) =>
          keys
            .map(
              (key) => `select log_id as id from notification_log_key where tenant_id = $1
                and key = ${parameters.add(key)}::uuid${inRange('log_id', search, parameters)}`,
            )
            .join(' union all '),
    ),
    ...(isTest === true ? [(parameters: Parameters) => `${newest(search)(parameters)} and log.is_test`] : []),
  ];
}

async function rarestOf({ tx, tenantId }: Search, sources: Source[]): Promise<{ source: Source; count: number }> {
  const parameters = createParameters(tenantId);
  const counts = sources.map((source) => `(select count(*)::int from (${source(parameters)} limit ${FEW + 1}) found)`);
  const [row] = await tx.query<{ counts: number[] }>(`select array[${counts.join(', ')}] as counts`, parameters.values);
  const [rarest] = sources
    .map((source, index) => ({ source, count: row?.counts[index] ?? 0 }))
    .toSorted((a, b) => a.count - b.count);
  return rarest as { source: Source; count: number };
}

/** Applies the conditions to the newest records. */
async function readRecent(search: Search): Promise<{ ids: string[]; checked: number }> {
  const { tx, tenantId, filter, query } = search;
  const parameters = createParameters(tenantId);
  const order = direction(search);
  const [found] = await tx.query<{ ids: string[]; checked: number }>(
    `with recent as materialized (
       select log.* from notification_log log where log.tenant_id = $1${inRange('log.id', search, parameters)}
       order by log.id ${order} limit ${RECENT}
     )
     select (select count(*)::int from recent) as checked,
       array(select log.id from recent log ${where(conditionsOf(tenantId, filter, parameters))}
         order by log.id ${order} limit ${parameters.add(query.limit)})::text[] as ids`,
    parameters.values,
  );
  return found ?? { ids: [], checked: 0 };
}

const where = (conditions: string[]): string => (conditions.length > 0 ? `where ${conditions.join(' and ')}` : '');

/** Reads all records of a source, at most `FEW`. */
function readCompletely(search: Search, source: Source): Promise<string[]> {
  return read(search, (parameters) => `select distinct id from (${source(parameters)} limit ${FEW + 1}) few`);
}

/** Applies the conditions to records whose ids are known. */
const matching = (search: Search, ids: string[]): Promise<string[]> =>
  read(search, ({ add }) => `select id from unnest(${add(ids)}::uuid[]) as id`);

/** Reads a source in the order of the page until the page is full. */
const readInOrder = (search: Search, source: Source): Promise<string[]> =>
  read(search, (parameters) => `select id from (${source(parameters)}) many order by id ${direction(search)}`);

async function read(search: Search, source: Source): Promise<string[]> {
  const { tx, tenantId, filter, query } = search;
  const parameters = createParameters(tenantId);
  const order = direction(search);
  const rows = await tx.query<{ id: string }>(
    `select log.id from (${source(parameters)}) found join notification_log log on log.id = found.id
     ${where(['log.tenant_id = $1', ...conditionsOf(tenantId, filter, parameters)])}
     order by found.id ${order} limit ${parameters.add(query.limit)}`,
    parameters.values,
  );
  return rows.map(({ id }) => id);
}

const isFaceted = ({ statuses, channels, eventCode, eventCodePrefix }: LogFilter): boolean =>
  [statuses, channels, eventCode, eventCodePrefix].some(given);

const list = (statuses: readonly LogStatus[]): string => statuses.map((status) => `'${status}'`).join(', ');
const OPEN = LOG_STATUSES.filter((status) => !isTerminal(status));
const ENDED = LOG_STATUSES.filter(isTerminal);
const IS_OPEN = `log.status in (${list(OPEN)})`;
const IS_ENDED = `log.status in (${list(ENDED)})`;

/**
 * Reads the first records of each combination of the wanted statuses, channels and event codes.
 *
 * @param rest the other conditions, which are applied to each record.
 */
async function readFacets(
  search: Search,
  limit: number = search.query.limit,
  rest: LogFilter = search.filter,
): Promise<string[]> {
  const { tx, tenantId, filter } = search;
  const codes = await codesOf(search);
  const parameters = createParameters(tenantId);
  const { add } = parameters;
  const order = direction(search);
  const range = inRange('log.id', search, parameters);
  const conditions = [
    ...(given(rest.isTest) ? [`log.is_test = ${add(rest.isTest)}`] : []),
    ...conditionsOf(tenantId, { createdAfter: filter.createdAfter, createdBefore: filter.createdBefore }, parameters),
  ].map((condition) => ` and ${condition}`);
  const wanted = filter.statuses ?? LOG_STATUSES;
  const statuses = add(wanted);
  const channels = add(filter.channels ?? CHANNELS);
  const code = codes && add(codes);
  const first = (values: string, condition: string): string =>
    `select found.id from ${values} cross join lateral (
       select log.id from notification_log log where log.tenant_id = $1 and ${condition}${range}${conditions.join('')}
       order by log.id ${order} limit ${add(limit)}) found`;

  const isCode = code ? ` and log.event_code = code and log.event_code collate "C" = code` : '';
  const byCode = code ? `unnest(${code}::text[]) as code cross join ` : '';
  const byStatus = `${byCode}unnest(${statuses}::text[]) as status`;
  const isStatus = `log.status = status${isCode}`;
  const parts =
    given(filter.statuses) || given(filter.channels)
      ? [
          first(
            `${byStatus} cross join unnest(${channels}::text[]) as channel`,
            `${IS_ENDED} and ${isStatus} and log.channel = channel`,
          ),
          ...(given(filter.channels) ? [] : [first(byStatus, `${IS_ENDED} and ${isStatus} and log.channel is null`)]),
          first(
            byStatus,
            `${IS_OPEN} and ${isStatus}${given(filter.channels) ? ` and log.channel = any(${channels}::text[])` : ''}`,
          ),
        ]
      : [first(`unnest(${code}::text[]) as code`, `log.event_code collate "C" = code`)];
  const rows = await tx.query<{ id: string }>(
    `select id from (${parts.join(' union all ')}) found order by id ${order} limit ${add(limit)}`,
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
async function codesOf({ tx, tenantId, filter }: Search): Promise<string[] | undefined> {
  const { eventCode, eventCodePrefix } = filter;
  if (given(eventCode)) return eventCode.startsWith(eventCodePrefix ?? '') ? [eventCode] : [];
  if (!given(eventCodePrefix)) return undefined;
  const rows = await tx.query<{ code: string }>(SELECT_CODES, [tenantId, eventCodePrefix]);
  if (rows.length <= MAX_CODES) return rows.map(({ code }) => code);
  throw validationFailed([
    {
      path: 'filter.eventCodePrefix',
      message: `matches more than ${MAX_CODES} event codes; use a longer prefix`,
    },
  ]);
}
