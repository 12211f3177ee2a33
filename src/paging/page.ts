import { validationFailed } from '../errors.ts';

/** Relay paging arguments as they came. */
export interface PageArgs {
  first?: number | null | undefined;
  after?: string | null | undefined;
  last?: number | null | undefined;
  before?: string | null | undefined;
}

/** One page of a keyset: rows after `after` and before `before`, from either end. */
export interface KeysetQuery {
  after: string | undefined;
  before: string | undefined;
  /** One more than asked for, to see whether there is a further page. */
  limit: number;
  /** Rows are wanted from the end. */
  isBackward: boolean;
}

export interface Page<Row> {
  rows: Row[];
  hasNextPage: boolean;
  hasPreviousPage: boolean;
}

const MAX_PAGE = 100;

/** Checks paging arguments. Cursors are opaque to clients: `prefix` says what kind of position they hold. */
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

/** Values that one condition of a filter may list. */
const MAX_CONDITIONS = 100;

/** @throws `validation_failed` where a condition of a filter lists too many values. */
export function checkFilter(filter: object | null | undefined): void {
  const problems = Object.entries(filter ?? {})
    .filter(([, value]) => Array.isArray(value) && value.length > MAX_CONDITIONS)
    .map(([name]) => ({ path: `filter.${name}`, message: `may list ${MAX_CONDITIONS} values at most` }));
  if (problems.length > 0) throw validationFailed(problems);
}

/**
 * Cuts a page out of a list whose newest item, by a time-ordered id, comes first: what follows `where <conditions>`.
 *
 * @param values the statement's parameters so far; those of the page are added.
 */
export function pageOf(column: string, query: KeysetQuery, values: unknown[]): string {
  const [after, before, limit] = [query.after ?? null, query.before ?? null, query.limit].map(
    (value) => `$${values.push(value)}`,
  );
  return `and (${after}::uuid is null or ${column} < ${after}) and (${before}::uuid is null or ${column} > ${before})
    order by ${column} ${query.isBackward ? 'asc' : 'desc'} limit ${limit}`;
}

/** Cuts the surplus row off and puts a backward page into reading order. */
export function toPage<Row>(rows: Row[], query: KeysetQuery): Page<Row> {
  const hasMore = rows.length >= query.limit;
  const kept = hasMore ? rows.slice(0, query.limit - 1) : rows;
  return query.isBackward
    ? { rows: kept.toReversed(), hasPreviousPage: hasMore, hasNextPage: query.before !== undefined }
    : { rows: kept, hasNextPage: hasMore, hasPreviousPage: query.after !== undefined };
}

/** How a position becomes an opaque cursor and back. */
export interface CursorKind {
  encode(position: string | number): string;
  /** @throws `validation_failed` naming the argument. */
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

/** A place in one person's inbox: the order in which notifications came in. */
export const inboxCursor = cursorKind('in', (position) => /^\d{1,15}$/.test(position));

/** A row of a list that is ordered by its time-ordered id. */
export const idCursor = cursorKind('id', (position) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(position));
