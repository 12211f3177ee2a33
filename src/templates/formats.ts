import { LRUCache } from 'lru-cache';

import { digitsOf, type ExactNumber } from '../exact-json.ts';
import type { Time } from '../time.ts';
import { ArgumentInvalid, type Hash, oneOf, textOf, wholeNumberOf } from './arguments.ts';

/** Input of a helper besides its arguments. */
export interface HelperContext {
  /** BCP 47 tag of the template's language. */
  locale: string;
  /** IANA name. */
  timeZone: string;
  /** Time of rendering. */
  now: Date;
  /** Called with each format that is used. */
  onFormat: (name: string) => void;
}

type Formatter =
  | Intl.NumberFormat
  | Intl.DateTimeFormat
  | Intl.PluralRules
  | Intl.RelativeTimeFormat
  | Intl.ListFormat
  | Intl.Segmenter;

/** Cached, because creating a formatter takes a hundred times as long as using it. */
const formatters = new LRUCache<string, Formatter>({ max: 500 });

function formatter<T extends Formatter>(
  kind: string,
  { locale, onFormat }: HelperContext,
  options: object,
  make: () => T,
): T {
  const key = JSON.stringify([kind, locale, options]);
  onFormat(key);
  const known = formatters.get(key) as T | undefined;
  if (known) return known;
  try {
    const made = make();
    formatters.set(key, made);
    return made;
  } catch (error) {
    throw new ArgumentInvalid((error as Error).message);
  }
}

export const STYLES = ['full', 'long', 'medium', 'short'] as const;
const UNIT_STYLES = ['long', 'short', 'narrow'] as const;
/** Largest number of decimals that `Intl` supports. */
const MAX_DECIMALS = 100;

function decimalsOf({ decimals }: Hash): Intl.NumberFormatOptions {
  if (decimals === undefined) return {};
  const digits = wholeNumberOf(decimals, 'decimals', [0, 20]);
  return { minimumFractionDigits: digits, maximumFractionDigits: digits };
}

// The types of TypeScript do not know that `format` accepts the digits of a number, without loss.
const formatExactly = (format: Intl.NumberFormat, value: number | ExactNumber): string =>
  format.format(digitsOf(value) as Intl.StringNumericLiteral);

/** Formats a number with all its decimals, or rounded to `decimals`. */
export function numberText(value: number | ExactNumber, hash: Hash, context: HelperContext): string {
  const options = { maximumFractionDigits: MAX_DECIMALS, ...decimalsOf(hash) };
  return formatExactly(
    formatter('number', context, options, () => new Intl.NumberFormat(context.locale, options)),
    value,
  );
}

/** Formats an amount with the decimals of its currency, or with `decimals`. */
export function moneyText(value: number | ExactNumber, hash: Hash, context: HelperContext): string {
  const options = { style: 'currency' as const, currency: textOf(hash['currency']), ...decimalsOf(hash) };
  return formatExactly(
    formatter('money', context, options, () => new Intl.NumberFormat(context.locale, options)),
    value,
  );
}

/** Returns the plural category of a number (CLDR), e.g. `one`. */
export function pluralCategory(value: number | ExactNumber, context: HelperContext): string {
  const digits = digitsOf(value);
  // Plural rules read the last digits, which a double of a long number does not keep.
  const number = /^-?\d{16,}$/.test(digits) ? Number(`1${digits.slice(-14)}`) : Number(digits);
  return formatter('plural', context, {}, () => new Intl.PluralRules(context.locale)).select(number);
}

/** Formats a time. A date without a time of day is the same day in every time zone. */
export function timeText(
  { at, hasTime }: Time,
  {
    dateStyle,
    timeStyle,
    timeZone,
  }: Pick<Intl.DateTimeFormatOptions, 'dateStyle' | 'timeStyle'> & { timeZone: unknown },
  context: HelperContext,
): string {
  const zone = timeZone === undefined ? context.timeZone : textOf(timeZone);
  const formatIn = (options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat =>
    formatter('date', context, options, () => new Intl.DateTimeFormat(context.locale, options));
  // Also created for a date, because it checks the name of the time zone.
  const format = formatIn({ timeZone: zone, ...(dateStyle && { dateStyle }), ...(timeStyle && { timeStyle }) });
  return hasTime ? format.format(at) : formatIn({ timeZone: 'UTC', ...(dateStyle && { dateStyle }) }).format(at);
}

const SECOND = 1_000;
const DAY = 86_400 * SECOND;
/** Length of each unit in milliseconds, and the number of them from which the next unit is used. */
const UNITS: [unit: Intl.RelativeTimeFormatUnitSingular, ms: number, max: number][] = [
  ['second', SECOND, 60],
  ['minute', 60 * SECOND, 60],
  ['hour', 3_600 * SECOND, 24],
  ['day', DAY, 30],
  ['month', 30.436_875 * DAY, 12],
  ['year', 365.2425 * DAY, Number.POSITIVE_INFINITY],
];

/** Formats the distance from `from` to a time in the largest unit, e.g. `in 3 days`. */
export function relativeText(time: Time, from: Time, hash: Hash, context: HelperContext): string {
  const options = {
    numeric: oneOf(hash['numeric'], ['auto', 'always'], 'auto'),
    style: oneOf(hash['style'], UNIT_STYLES, 'long'),
  };
  const format = formatter('relative', context, options, () => new Intl.RelativeTimeFormat(context.locale, options));
  // A day has no time of day, so only the days between are counted.
  const isOfDays = !time.hasTime;
  const distance = isOfDays ? time.at.getTime() - dayOf(from, context.timeZone) : time.at.getTime() - from.at.getTime();
  for (const [unit, ms, max] of isOfDays ? UNITS.slice(3) : UNITS) {
    const count = Math.round(distance / ms);
    if (Math.abs(count) < max) return format.format(count === 0 ? 0 : count, unit);
  }
  throw new Error('the last unit has no maximum');
}

/** Returns the start in UTC of the day that it is in the time zone at that time. */
function dayOf({ at, hasTime }: Time, timeZone: string): number {
  if (!hasTime) return at.getTime();
  const options = { timeZone, year: 'numeric', month: 'numeric', day: 'numeric' } as const;
  const parts = new Intl.DateTimeFormat('en', { calendar: 'gregory', ...options }).formatToParts(at);
  const valueOf = (type: string): number => Number(parts.find((part) => part.type === type)?.value);
  return Date.UTC(valueOf('year'), valueOf('month') - 1, valueOf('day'));
}

/** Formats a list, e.g. `a, b and c`. */
export function listText(items: string[], hash: Hash, context: HelperContext): string {
  const options = {
    type: oneOf(hash['type'], ['conjunction', 'disjunction', 'unit'], 'conjunction'),
    style: oneOf(hash['style'], UNIT_STYLES, 'long'),
  };
  return formatter('list', context, options, () => new Intl.ListFormat(context.locale, options)).format(items);
}

/** Returns at most `length` characters as people see them, with the ellipsis, which replaces the rest. */
export function truncated(text: string, length: number, ellipsis: string, context: HelperContext): string {
  if (text.length <= length) return text;
  const split = formatter(
    'grapheme',
    context,
    {},
    () => new Intl.Segmenter(context.locale, { granularity: 'grapheme' }),
  );
  const room = length - [...split.segment(ellipsis)].length;
  if (room < 0) throw new ArgumentInvalid('needs a length that is not shorter than the ellipsis');
  let count = 0;
  let end = 0;
  for (const { index } of split.segment(text)) {
    if (count === room) end = index;
    if (count === length) return text.slice(0, end).trimEnd() + ellipsis;
    count += 1;
  }
  return text;
}
