import type { Transaction } from '../database/database.ts';
import { firstIdOf } from '../ids.ts';
import type { KeysetQuery } from '../paging/page.ts';
import { isFaceted, readFacets } from './log-facets.ts';
import {
  conditionsOf,
  createParameters,
  direction,
  given,
  inRange,
  keysOf,
  type LogFilter,
  type LogSearch,
  type Parameters,
} from './log-filter.ts';

/**
 * Finds the delivery records of one page through an index, so that the time does not depend on the size of the table:
 *
 * 1. The newest 500 records are checked: often enough of them match.
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
  const search: LogSearch = { tx, tenantId, filter, query, range: rangeOf(filter, query) };
  const keys = await knownKeys(search);
  if (keys.some((alternatives) => alternatives.length === 0)) return [];
  const narrow = narrowSources(search, keys);
  if (narrow.length === 0) {
    const recent = await readRecent(search);
    if (recent.ids.length >= query.limit || recent.checked < RECENT) return recent.ids;
    return isFaceted(filter) ? readFacets(search) : readInOrder(search, newest(search));
  }
  const rarest = await rarestOf(search, narrow);
  if (rarest.count <= FEW) return readCompletely(search, rarest.source);
  if (!isFaceted(filter)) return readInOrder(search, rarest.source);
  if (narrow.length === 1 && filter.isTest === true) return readFacets(search);
  const facets = await readFacets(search, { limit: FEW + 1, isOrdered: false, rest: {} });
  return facets.length <= FEW ? matching(search, facets) : readInOrder(search, rarest.source);
}

/** Number of newest records that are checked before an index is used. */
const RECENT = 500;
/** Maximum number of records of a condition that are all read. */
const FEW = 2_000;
/**
 * Tolerance of the time conditions, in milliseconds. Ids contain the time of the process, `created_at` is the time of the
 * database.
 */
const CLOCK_SKEW_MS = 300_000;

/** Returns the ids between which the page lies, from its cursors and the time conditions. */
function rangeOf({ createdAfter, createdBefore }: LogFilter, { after, before }: KeysetQuery): LogSearch['range'] {
  const above = [before, given(createdAfter) ? firstIdOf(createdAfter.getTime() - CLOCK_SKEW_MS) : undefined];
  const below = [after, given(createdBefore) ? firstIdOf(createdBefore.getTime() + CLOCK_SKEW_MS) : undefined];
  return { above: above.filter(given).toSorted().at(-1), below: below.filter(given).toSorted()[0] };
}

/** SQL that reads ids of records through an index, without order and limit. $1 is the tenant. */
type Source = (parameters: Parameters) => string;

const newest =
  (search: LogSearch): Source =>
  (parameters) =>
    `select log.id from notification_log log where log.tenant_id = $1${inRange('log.id', search, parameters)}`;

const SELECT_KNOWN = `select key from unnest($2::uuid[]) as wanted (key)
  where exists (select from notification_log_key known where known.tenant_id = $1 and known.key = wanted.key)`;

/** Returns the keys of each condition. Of several alternatives, only those that exist are left, which is rarely more than one. */
async function knownKeys({ tx, tenantId, filter }: LogSearch): Promise<string[][]> {
  const keys = keysOf(tenantId, filter);
  const alternatives = keys.filter((list) => list.length > 1).flat();
  if (alternatives.length === 0) return keys;
  const rows = await tx.query<{ key: string }>(SELECT_KNOWN, [tenantId, alternatives]);
  const known = new Set(rows.map(({ key }) => key));
  return keys.map((list) => (list.length > 1 ? list.filter((key) => known.has(key)) : list));
}

/** Sources of the conditions that usually match few records. */
function narrowSources(search: LogSearch, keys: string[][]): Source[] {
  const { filter } = search;
  const { eventId, providerMessageId, isTest } = filter;
  const sources: Source[] = keys.map((list) => keySource(search, list));
  if (given(eventId)) {
    sources.push(
      ({ add }) =>
        `select log_id as id from event_idempotency where tenant_id = $1 and event_id = ${add(eventId)}::uuid`,
    );
  }
  if (given(providerMessageId)) {
    sources.push(
      (parameters) => `select log_id as id from delivery_attempt where tenant_id = $1
        and provider_message_id = ${parameters.add(providerMessageId)}${inRange('log_id', search, parameters)}`,
    );
  }
  if (isTest === true) sources.push((parameters) => `${newest(search)(parameters)} and log.is_test`);
  return sources;
}

const keySource =
  (search: LogSearch, keys: string[]): Source =>
  (parameters) =>
    keys
      .map(
        (key) => `select log_id as id from notification_log_key where tenant_id = $1
          and key = ${parameters.add(key)}::uuid${inRange('log_id', search, parameters)}`,
      )
      .join(' union all ');

async function rarestOf({ tx, tenantId }: LogSearch, sources: Source[]): Promise<{ source: Source; count: number }> {
  const parameters = createParameters(tenantId);
  const counts = sources.map((source) => `(select count(*)::int from (${source(parameters)} limit ${FEW + 1}) found)`);
  const [row] = await tx.query<{ counts: number[] }>(`select array[${counts.join(', ')}] as counts`, parameters.values);
  const [rarest] = sources
    .map((source, index) => ({ source, count: row?.counts[index] ?? 0 }))
    .toSorted((a, b) => a.count - b.count);
  return rarest as { source: Source; count: number };
}

/** Applies the conditions to the newest records. */
async function readRecent(search: LogSearch): Promise<{ ids: string[]; checked: number }> {
  const { tx, tenantId, filter, query } = search;
  const parameters = createParameters(tenantId);
  const order = direction(search);
  const [found] = await tx.query<{ ids: string[]; checked: number }>(
    `with recent as materialized (
       select log.id, log.tenant_id, log.event_id, log.trace_id, log.event_code, log.channel, log.status, log.is_test,
         log.created_at
       from notification_log log where log.tenant_id = $1${inRange('log.id', search, parameters)}
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
const readCompletely = (search: LogSearch, source: Source): Promise<string[]> =>
  readInOrder(search, (parameters) => `select distinct id from (${source(parameters)} limit ${FEW + 1}) few`);

/** Applies the conditions to records whose ids are known. */
const matching = (search: LogSearch, ids: string[]): Promise<string[]> =>
  readInOrder(search, ({ add }) => `select id from unnest(${add(ids)}::uuid[]) as id`);

/** Reads a source in the order of the page until the page is full. */
async function readInOrder(search: LogSearch, source: Source): Promise<string[]> {
  const { tx, tenantId, filter, query } = search;
  const parameters = createParameters(tenantId);
  const rows = await tx.query<{ id: string }>(
    // `offset 0` keeps the order of the source: without it, the planner may read the whole table for a join.
    `select matched.id from (${source(parameters)}) found cross join lateral (
       select log.id from notification_log log
       ${where(['log.id = found.id', 'log.tenant_id = $1', ...conditionsOf(tenantId, filter, parameters)])} offset 0
     ) matched order by found.id ${direction(search)} limit ${parameters.add(query.limit)}`,
    parameters.values,
  );
  return rows.map(({ id }) => id);
}
