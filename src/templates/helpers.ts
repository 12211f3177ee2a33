import { compareNumbers, type ExactNumber, isExactNumber, isNumber } from '../exact-json.ts';
import { parseTime } from '../time.ts';
import {
  ArgumentInvalid,
  checkCount,
  given,
  type Hash,
  numberOf,
  oneOf,
  textOf,
  textsOf,
  timeOf,
  UrlEncoded,
  wholeNumberOf,
} from './arguments.ts';
import {
  type HelperContext,
  listText,
  moneyText,
  numberText,
  pluralCategory,
  relativeText,
  STYLES,
  timeText,
  truncated,
} from './formats.ts';
import { percentEncoded } from './links.ts';

type Helper = (args: unknown[], hash: Hash, context: HelperContext) => unknown;

/** Maximum length of a truncated text, in characters. */
const MAX_LENGTH = 10_000;

/** Returns whether `if` treats the value as true. */
export function isTruthy(value: unknown): boolean {
  if (isExactNumber(value)) return /[1-9]/.test(value.rawJSON);
  return Array.isArray(value) ? value.length > 0 : Boolean(value);
}

/** Compares two numbers, or two times. Texts are not compared, because their order depends on the language. */
function compare(args: unknown[]): number {
  checkCount(args, 2);
  const [a, b] = args.map(given) as [unknown, unknown];
  if (isNumeric(a) && isNumeric(b)) return compareNumbers(a, b);
  const [first, second] = [a, b].map((value) => (typeof value === 'string' ? parseTime(value) : undefined));
  if (first && second) return first.at.getTime() - second.at.getTime();
  return compareNumbers(comparable(a, second !== undefined), comparable(b, first !== undefined));
}

const isNumeric = (value: unknown): value is number | ExactNumber => isNumber(value);

/** Reads a number. A text that is no number fails with a message that also names times. */
function comparable(value: unknown, isWithTime: boolean): number | ExactNumber {
  if (!isWithTime) {
    try {
      return numberOf(value);
    } catch (error) {
      if (!(error instanceof ArgumentInvalid)) throw error;
    }
  }
  throw new ArgumentInvalid('needs two numbers, or two times in RFC 3339 format', value);
}

/**
 * All helpers besides `if`, `unless`, `each` and `with`. A helper depends only on its arguments, the template's
 * language, the time zone and, for `formatRelative`, the time of rendering.
 */
export const HELPERS: Readonly<Record<string, Helper>> = Object.assign(Object.create(null) as object, {
  /** `{{formatDate when}}`, `{{formatDate when style="long" time="short" timeZone="Asia/Ho_Chi_Minh"}}` */
  formatDate: ([when], hash, context) => {
    const time = oneOf(hash['time'], [...STYLES, 'none'], 'none');
    const dateStyle = oneOf(hash['style'], STYLES, 'medium');
    const styles = { dateStyle, timeZone: hash['timeZone'], ...(time !== 'none' && { timeStyle: time }) };
    return timeText(timeOf(when), styles, context);
  },
  /** `{{formatTime when}}`, `{{formatTime when style="medium" timeZone="Asia/Ho_Chi_Minh"}}` */
  formatTime: ([when], hash, context) => {
    const time = timeOf(when);
    if (!time.hasTime) throw new ArgumentInvalid('needs a time of day, not only a date', when);
    const timeStyle = oneOf(hash['style'], STYLES, 'short');
    return timeText(time, { timeStyle, timeZone: hash['timeZone'] }, context);
  },
  /** `{{formatRelative when}}`, `{{formatRelative when from=start numeric="always" style="short"}}` */
  formatRelative: ([when], hash, context) => {
    const { from } = hash;
    const start = from === undefined ? { at: context.now, hasTime: true, hasOffset: true } : timeOf(from);
    return relativeText(timeOf(when), start, hash, context);
  },
  /** `{{formatNumber total decimals=2}}` */
  formatNumber: ([value], hash, context) => numberText(numberOf(value), hash, context),
  /** `{{formatMoney amount currency="VND"}}` */
  formatMoney: ([value], hash, context) => moneyText(numberOf(value), hash, context),
  /** `{{formatList names}}`, `{{formatList names type="disjunction" style="short"}}` */
  formatList: ([list], hash, context) => listText(textsOf(list), hash, context),
  /** `{{plural count one="item" other="items"}}`. The forms are the plural categories of the language (CLDR). */
  plural: ([value], hash, context) => textOf(hash[pluralCategory(numberOf(value), context)] ?? hash['other']),
  upper: ([value], _hash, { locale }) => textOf(value).toLocaleUpperCase(locale),
  lower: ([value], _hash, { locale }) => textOf(value).toLocaleLowerCase(locale),
  /** `{{join tags}}`, `{{join tags " · "}}` */
  join: ([list, separator = ', ']) => textsOf(list).join(textOf(separator)),
  /** `{{truncate text 40}}`, `{{truncate text 40 ellipsis="..."}}` */
  truncate: (args, { ellipsis = '…' }, context) => {
    checkCount(args, 2);
    const [value, length] = args;
    return truncated(textOf(value), wholeNumberOf(length, 'a length', [1, MAX_LENGTH]), textOf(ellipsis), context);
  },
  /** `{{urlEncode text}}` */
  urlEncode: ([value]) => new UrlEncoded(percentEncoded(textOf(value))),
  /** `{{default nickname "friend"}}` */
  default: ([value, otherwise]) => (value === undefined || value === null || value === '' ? given(otherwise) : value),
  eq: ([a, b]) => (isNumber(a) && isNumber(b) ? compareNumbers(a, b) === 0 : a === b),
  gt: (args) => compare(args) > 0,
  gte: (args) => compare(args) >= 0,
  lt: (args) => compare(args) < 0,
  lte: (args) => compare(args) <= 0,
  and: (args) => args.every(isTruthy),
  or: (args) => args.some(isTruthy),
  not: ([value]) => !isTruthy(value),
} satisfies Record<string, Helper>);
