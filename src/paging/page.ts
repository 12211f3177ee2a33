import { validationFailed } from '../errors.ts';

/** Relay paging arguments, not yet validated. */
export interface PageArgs {
  first?: number | null | undefined;
  after?: string | null | undefined;
  last?: number | null | undefined;
  before?: string | null | undefined;
}

/** Validated paging arguments: the rows between two positions, from either end. */
export interface KeysetQuery {
  after: string | undefined;
  before: string | undefined;
  /** One more than requested, to find out whether there is another page. */
  limit: number;
  /** True for `last`: rows are read from the end. */
  isBackward: boolean;
}

export interface Page<Row> {
  rows: Row[];
  hasNextPage: boolean;
  hasPreviousPage: boolean;
}

const MAX_PAGE = 100;

/** Validates paging arguments and decodes their cursors. @throws `validation_failed` */
export function keysetQuery(args: PageArgs, cursor: CursorKind): KeysetQuery {
  const isBackward = args.last !== null && args.last !== undefined;
  const size = (isBackward ? args.last : args.first) ?? 20;
  if (!Number.isInteger(size) || size < 1 || size > MAX_PAGE) {
    throw validationFailed([{ path: isBackward ? 'last' : 'first', message: `must be from 1 to ${MAX_PAGE}` }]);
  }
  return {
    after: args.after ? cursor.decode(args.after, 'after') : undefined,
    before: args.before ? cursor.decode(args.before, 'before') : undefined,
    limit: size + 1,
    isBackward,
  };
}

/** Maximum number of values in one condition of a filter. */
const MAX_CONDITIONS = 100;

/** Checks the sizes of lists in a filter. @throws `validation_failed` */
export function checkFilter(filter: object | null | undefined): void {
  const problems = Object.entries(filter ?? {})
    .filter(([, value]) => Array.isArray(value) && value.length > MAX_CONDITIONS)
    .map(([name]) => ({ path: `filter.${name}`, message: `has more than ${MAX_CONDITIONS} values` }));
  if (problems.length > 0) throw validationFailed(problems);
}

/**
 * Returns the SQL of a page that follows `where <conditions>`, for a list ordered by a time-ordered id, newest first.
 *
 * @param values the parameters of the statement. The parameters of the page are appended.
 */
export function pageOf(column: string, query: KeysetQuery, values: unknown[]): string {
  const [after, before, limit] = [query.after ?? null, query.before ?? null, query.limit].map(
    (value) => `$${values.push(value)}`,
  );
  return `and (${after}::uuid is null or ${column} < ${after}) and (${before}::uuid is null or ${column} > ${before})
    order by ${column} ${query.isBackward ? 'asc' : 'desc'} limit ${limit}`;
}

/**
 * Returns the condition, order and limit of a page for `em.find`, over entities with a time-ordered `id`; the newest
 * comes first.
 */
export const findPage = ({ after, before, limit, isBackward }: KeysetQuery) => ({
  where: { $and: [...(after ? [{ id: { $lt: after } }] : []), ...(before ? [{ id: { $gt: before } }] : [])] },
  options: { orderBy: { id: isBackward ? 'asc' : 'desc' }, limit } as const,
});

/** Removes the surplus row and reverses a backward page. */
export function toPage<Row>(rows: Row[], query: KeysetQuery): Page<Row> {
  const hasMore = rows.length >= query.limit;
  const kept = hasMore ? rows.slice(0, query.limit - 1) : rows;
  return query.isBackward
    ? { rows: kept.toReversed(), hasPreviousPage: hasMore, hasNextPage: query.before !== undefined }
    : { rows: kept, hasNextPage: hasMore, hasPreviousPage: query.after !== undefined };
}

/** Encodes positions to opaque cursors and decodes them. */
export interface CursorKind {
  encode(position: string | number): string;
  /** @throws `validation_failed` with the name of the argument. */
  decode(cursor: string, argument: string): string;
}

function cursorKind(prefix: string, isValid: (position: string) => boolean): CursorKind {
  return {
    encode: (position) => Buffer.from(`${prefix}:${position}`).toString('base64url'),
    decode: (cursor, argument) => {
      const text = Buffer.from(cursor, 'base64url').toString();
      const position = text.slice(prefix.length + 1);
      if (!text.startsWith(`${prefix}:`) || !isValid(position)) {
        throw validationFailed([{ path: argument, message: 'is not a cursor of this list' }]);
      }
      return position;
    },
  };
}

/** Position in an inbox: the sequence number of a notification. */
export const inboxCursor = cursorKind('in', (position) => /^\d{1,15}$/.test(position));

/** Position in a list that is ordered by time-ordered ids. */
export const idCursor = cursorKind('id', (position) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(position));
