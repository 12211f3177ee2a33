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
  const keys = await knownKeys(search);
  if (keys.some((alternatives) => alternatives.length === 0)) return [];
  const narrow = narrowSources(search, keys);
  if (narrow.length === 0) {
    const recent = await readRecent(search);
    if (recent.ids.length >= query.limit || recent.checked < RECENT) return recent.ids;
    return isFaceted(filter) ? readFacets(search) : readInOrder(search, { all: newest(search) });
  }
  const rarest = await rarestOf(search, narrow);
  if (rarest.count <= FEW) return readCompletely(search, rarest.source);
  if (!isFaceted(filter)) return readInOrder(search, rarest.source);
  if (narrow.length === 1 && filter.isTest === true) return readFacets(search);
  const facets = await readFacets(search, { limit: FEW + 1, isOrdered: false, rest: {} });
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

const LOWEST = '00000000-0000-0000-0000-000000000000';
const HIGHEST = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

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

/** SQL that reads ids of records through an index, without order and limit. $1 is the tenant. */
type Select = (parameters: Parameters) => string;

interface Source {
  all: Select;
  /** The same as rows of `key` and `id`, in the order of both, if the planner might not see that an index has this order. */
  ordered?: Select;
}

const newest =
  (search: Search): Select =>
  (parameters) =>
    `select log.id from notification_log log where log.tenant_id = $1${inRange('log.id', search, parameters)}`;

const SELECT_KNOWN = `select key from unnest($2::uuid[]) as wanted (key)
  where exists (select from notification_log_key known where known.tenant_id = $1 and known.key = wanted.key)`;

/** Returns the keys of each condition. Of several alternatives, only those that exist are left, which is rarely more than one. */
async function knownKeys({ tx, tenantId, filter }: Search): Promise<string[][]> {
  const keys = keysOf(tenantId, filter);
  const alternatives = keys.filter((list) => list.length > 1).flat();
  if (alternatives.length === 0) return keys;
  const rows = await tx.query<{ key: string }>(SELECT_KNOWN, [tenantId, alternatives]);
  const known = new Set(rows.map(({ key }) => key));
  return keys.map((list) => (list.length > 1 ? list.filter((key) => known.has(key)) : list));
}

/** Sources of the conditions that usually match few records. */
function narrowSources(search: Search, keys: string[][]): Source[] {
  const { filter } = search;
  const { eventId, providerMessageId, isTest } = filter;
  const sources: Source[] = keys.map((list) => keySource(search, list));
  if (given(eventId)) {
    sources.push({
      all: ({ add }) =>
        `select log_id as id from event_idempotency where tenant_id = $1 and event_id = ${add(eventId)}::uuid`,
    });
  }
  if (given(providerMessageId)) {
    sources.push({
      all: (parameters) => `select log_id as id from delivery_attempt where tenant_id = $1
        and provider_message_id = ${parameters.add(providerMessageId)}${inRange('log_id', search, parameters)}`,
    });
  }
  if (isTest === true) sources.push({ all: (parameters) => `${newest(search)(parameters)} and log.is_test` });
  return sources;
}

function keySource(search: Search, keys: string[]): Source {
  const { above = LOWEST, below = HIGHEST } = search.range;
  const one =
    (value: string): Select =>
    ({ add }) => {
      const wanted = add(value);
      return `select key, log_id as id from notification_log_key where tenant_id = $1
        and (key, log_id) > (${wanted}::uuid, ${add(above)}::uuid) and (key, log_id) < (${wanted}::uuid, ${add(below)}::uuid)`;
    };
  return {
    all: (parameters) => `select id from (${keys.map((value) => one(value)(parameters)).join(' union all ')}) keyed`,
    ...(keys.length === 1 && { ordered: one(keys[0] as string) }),
  };
}

async function rarestOf({ tx, tenantId }: Search, sources: Source[]): Promise<{ source: Source; count: number }> {
  const parameters = createParameters(tenantId);
  const counts = sources.map(({ all }) => `(select count(*)::int from (${all(parameters)} limit ${FEW + 1}) found)`);
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
const readCompletely = (search: Search, { all }: Source): Promise<string[]> =>
  read(search, (parameters) => `select distinct id from (${all(parameters)} limit ${FEW + 1}) few`);

/** Applies the conditions to records whose ids are known. */
const matching = (search: Search, ids: string[]): Promise<string[]> =>
  read(search, ({ add }) => `select id from unnest(${add(ids)}::uuid[]) as id`);

/** Reads a source in the order of the page until the page is full. */
const readInOrder = (search: Search, { all, ordered }: Source): Promise<string[]> =>
  ordered ? read(search, ordered, ['found.key', 'found.id']) : read(search, all);

async function read(search: Search, select: Select, orderBy = ['found.id']): Promise<string[]> {
  const { tx, tenantId, filter, query } = search;
  const parameters = createParameters(tenantId);
  const order = orderBy.map((column) => `${column} ${direction(search)}`).join(', ');
  const rows = await tx.query<{ id: string }>(
    // `offset 0` keeps the order of the source: without it, the planner may read the whole table for a join.
    `select matched.id from (${select(parameters)}) found cross join lateral (
       select log.id from notification_log log
       ${where(['log.id = found.id', 'log.tenant_id = $1', ...conditionsOf(tenantId, filter, parameters)])} offset 0
     ) matched order by ${order} limit ${parameters.add(query.limit)}`,
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
 * Each combination is a row comparison, and the order names the same columns: so the planner can use only the index that
 * has exactly these columns, and does not search the newest records for a rare value.
 */
async function readFacets(
  search: Search,
  { limit = search.query.limit, isOrdered = true, rest = search.filter }: FacetOptions = {},
): Promise<string[]> {
  const { tx, tenantId, filter, range } = search;
  const codes = await codesOf(search);
  const parameters = createParameters(tenantId);
  const { add } = parameters;
  const order = direction(search);
  const [lowest, highest, maximum] = [add(range.above ?? LOWEST), add(range.below ?? HIGHEST), add(limit)];
  const conditions = [
    ...(given(rest.isTest) ? [`log.is_test = ${add(rest.isTest)}`] : []),
    ...conditionsOf(tenantId, { createdAfter: filter.createdAfter, createdBefore: filter.createdBefore }, parameters),
  ].map((condition) => ` and ${condition}`);

  /** @param columns the columns of an index after the tenant, with the wanted value of each. */
  const first = (values: string, columns: Record<string, string>, condition: string): string => {
    const wanted = Object.values(columns)
      .map((value) => `${value}, `)
      .join('');
    const names = [...Object.keys(columns), 'log.id'];
    return `select found.id from ${values} cross join lateral (
       select log.id from notification_log log
       where log.tenant_id = $1 and ${condition}${conditions.join('')}
         and (${names.join(', ')}) > (${wanted}${lowest}::uuid) and (${names.join(', ')}) < (${wanted}${highest}::uuid)
       order by ${names.map((name) => `${name} ${order}`).join(', ')} limit ${maximum}) found`;
  };

  const byCode = codes && `unnest(${add(codes)}::text[]) as wanted_code`;
  const isCode: Record<string, string> = byCode ? { 'log.event_code': 'wanted_code' } : {};
  const parts: string[] = [];
  if (given(filter.statuses) || given(filter.channels)) {
    const byStatus = `unnest(${add(filter.statuses ?? LOG_STATUSES)}::text[]) as wanted_status`;
    const values = byCode ? `${byCode} cross join ${byStatus}` : byStatus;
    const isStatus = { 'log.status': 'wanted_status' };
    const channels = `${add(filter.channels ?? CHANNELS)}::text[]`;
    const ofChannel = `${values} cross join unnest(${channels}) as wanted_channel`;
    const isChannel = { 'log.channel': 'wanted_channel' };
    // The order of the columns is that of the indexes.
    const columns = byCode ? { ...isCode, ...isChannel, ...isStatus } : { ...isStatus, ...isChannel };
    parts.push(first(ofChannel, columns, IS_ENDED));
    const ofOpen = `${IS_OPEN}${byCode ? ' and log.event_code = wanted_code' : ''}`;
    if (given(filter.channels)) {
      parts.push(first(values, isStatus, `${ofOpen} and log.channel = any(${channels})`));
    } else {
      const withoutChannel = byCode ? ' and log.event_code = wanted_code' : '';
      parts.push(
        first(values, isStatus, ofOpen),
        `select found.id from ${values} cross join lateral (
           select log.id from notification_log log
           where log.tenant_id = $1 and ${IS_ENDED} and log.status = wanted_status${withoutChannel}
             and log.channel is null and log.id > ${lowest}::uuid and log.id < ${highest}::uuid${conditions.join('')}
           order by log.channel ${order}, log.id ${order} limit ${maximum}) found`,
      );
    }
  } else if (byCode) {
    parts.push(first(byCode, { 'log.event_code collate "C"': 'wanted_code' }, 'true'));
  }
  const rows = await tx.query<{ id: string }>(
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
