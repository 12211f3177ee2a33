import { LRUCache } from 'lru-cache';

/** A required argument of a helper is missing. */
export class ArgumentMissing extends Error {}

/** An argument of a helper has the wrong type or an invalid value. */
export class ArgumentInvalid extends Error {}

/** Input of a helper besides its arguments. */
export interface HelperContext {
  /** BCP 47 tag of the template's language. */
  locale: string;
  /** IANA name. */
  timeZone: string;
  /** Called with each format that is used. */
  onFormat: (name: string) => void;
}

/** Named options of a call, e.g. `style` in `{{formatDate when style="long"}}`. */
type Hash = Record<string, unknown>;

type Helper = (args: unknown[], hash: Hash, context: HelperContext) => unknown;

/** Cached, because creating a formatter takes a hundred times as long as using it. */
const formatters = new LRUCache<string, Intl.NumberFormat | Intl.DateTimeFormat | Intl.PluralRules>({ max: 500 });

function formatter<T extends Intl.NumberFormat | Intl.DateTimeFormat | Intl.PluralRules>(
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

function given(value: unknown): unknown {
  if (value === undefined) throw new ArgumentMissing();
  return value;
}

function numberOf(value: unknown): number {
  const number = typeof given(value) === 'string' && value !== '' ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isFinite(number)) throw new ArgumentInvalid('needs a number');
  return number;
}

function dateOf(value: unknown): Date {
  const date = typeof given(value) === 'string' || typeof value === 'number' ? new Date(value as string) : undefined;
  if (!date || Number.isNaN(date.getTime())) throw new ArgumentInvalid('needs a time in RFC 3339 format');
  return date;
}

const oneOf = <T extends string>(value: unknown, allowed: readonly T[], fallback: T): T => {
  if (value === undefined) return fallback;
  if (allowed.includes(value as T)) return value as T;
  throw new ArgumentInvalid(`needs one of ${allowed.join(', ')}`);
};

function digitsOf(hash: Hash): { minimumFractionDigits?: number; maximumFractionDigits?: number } {
  const { decimals } = hash;
  if (decimals === undefined) return {};
  const digits = numberOf(decimals);
  if (!Number.isInteger(digits) || digits < 0 || digits > 20) throw new ArgumentInvalid('needs decimals from 0 to 20');
  return { minimumFractionDigits: digits, maximumFractionDigits: digits };
}

const text = (value: unknown): string => {
  if (typeof given(value) === 'object' && value !== null) throw new ArgumentInvalid('needs a text');
  return value === null ? '' : String(value);
};

const STYLES = ['full', 'long', 'medium', 'short'] as const;
/** Returns whether `if` treats the value as true. */
export const isTruthy = (value: unknown): boolean => (Array.isArray(value) ? value.length > 0 : Boolean(value));

/**
 * All helpers besides `if`, `unless`, `each` and `with`. A helper depends only on its arguments, the template's
 * language and the time zone.
 */
export const HELPERS: Readonly<Record<string, Helper>> = Object.assign(Object.create(null) as object, {
  /** `{{formatDate when}}`, `{{formatDate when style="long" time="short" timeZone="Asia/Ho_Chi_Minh"}}` */
  formatDate: ([when], hash, context) => {
    const { locale, timeZone } = context;
    const time = oneOf(hash['time'], [...STYLES, 'none'], 'none');
    const options: Intl.DateTimeFormatOptions = {
      timeZone: hash['timeZone'] === undefined ? timeZone : text(hash['timeZone']),
      dateStyle: oneOf(hash['style'], STYLES, 'medium'),
      ...(time !== 'none' && { timeStyle: time }),
    };
    return formatter('date', context, options, () => new Intl.DateTimeFormat(locale, options)).format(dateOf(when));
  },
  /** `{{formatNumber total decimals=2}}` */
  formatNumber: ([value], hash, context) => {
    const options = digitsOf(hash);
    return formatter('number', context, options, () => new Intl.NumberFormat(context.locale, options)).format(
      numberOf(value),
    );
  },
  /** `{{formatMoney amount currency="VND"}}` */
  formatMoney: ([value], hash, context) => {
    const options = { style: 'currency' as const, currency: text(hash['currency']), ...digitsOf(hash) };
    return formatter('money', context, options, () => new Intl.NumberFormat(context.locale, options)).format(
      numberOf(value),
    );
  },
  /** `{{plural count one="item" other="items"}}`. The forms are the plural categories of the language (CLDR). */
  plural: ([value], hash, context) => {
    const rules = formatter('plural', context, {}, () => new Intl.PluralRules(context.locale));
    return text(hash[rules.select(numberOf(value))] ?? hash['other']);
  },
  upper: ([value], _hash, { locale }) => text(value).toLocaleUpperCase(locale),
  lower: ([value], _hash, { locale }) => text(value).toLocaleLowerCase(locale),
  /** `{{default nickname "friend"}}` */
  default: ([value, otherwise]) => (value === undefined || value === null || value === '' ? given(otherwise) : value),
  eq: ([a, b]) => a === b,
  and: (args) => args.every(isTruthy),
  or: (args) => args.some(isTruthy),
  not: ([value]) => !isTruthy(value),
} satisfies Record<string, Helper>);
