import { digitsOf, exactNumber, type ExactNumber, isExactNumber, isNumber, MAX_NUMBER } from '../exact-json.ts';
import { parseTime, type Time } from '../time.ts';

/** A required argument of a helper is missing. */
export class ArgumentMissing extends Error {}

/** An argument of a helper has the wrong type or an invalid value. */
export class ArgumentInvalid extends Error {
  /** The invalid argument, by which the evaluation finds its path; undefined when no single argument is invalid. */
  readonly value: unknown;

  constructor(message: string, value?: unknown) {
    super(message);
    this.value = value;
  }
}

/** Text that `urlEncode` has encoded. In a link, it is not encoded a second time. */
export class UrlEncoded {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Named options of a call, e.g. `style` in `{{formatDate when style="long"}}`. */
export type Hash = Record<string, unknown>;

export function given(value: unknown): unknown {
  if (value === undefined) throw new ArgumentMissing();
  return value;
}

/** @throws {ArgumentInvalid} unless the helper was called with `count` arguments. */
export function checkCount(args: unknown[], count: number): void {
  if (args.length !== count) throw new ArgumentInvalid(`needs ${count} arguments`);
}

const NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** Reads a number, or a text that is one, with all digits. */
export function numberOf(value: unknown): number | ExactNumber {
  const number = typeof given(value) === 'string' ? fromText(value as string) : value;
  if (!isNumber(number) || !Number.isFinite(Number(digitsOf(number))))
    throw new ArgumentInvalid('needs a number', value);
  if (/e/i.test(digitsOf(number))) throw new ArgumentInvalid(`needs a number with at most ${MAX_NUMBER} digits`, value);
  return number;
}

function fromText(text: string): number | ExactNumber | undefined {
  const plain = text
    .trim()
    .replace(/^\+/, '')
    .replace(/^-?(?=\.)/, (sign) => `${sign}0`);
  return NUMBER.test(plain) ? exactNumber(plain) : undefined;
}

/** Reads an option that is a whole number. */
export function wholeNumberOf(value: unknown, name: string, [min, max]: [number, number]): number {
  const number = Number(digitsOf(numberOf(value)));
  if (Number.isInteger(number) && number >= min && number <= max) return number;
  throw new ArgumentInvalid(`needs ${name} from ${min} to ${max}`, value);
}

/** Milliseconds from 1970 to the end of the year 9999. */
const MAX_EPOCH = 253_402_300_799_999;

/** Reads a time in RFC 3339 format, a date, or a number of milliseconds since 1970. */
export function timeOf(value: unknown): Time {
  if (isNumber(given(value))) {
    const ms = Number(digitsOf(value as number | ExactNumber));
    if (Math.abs(ms) <= MAX_EPOCH) return { at: new Date(ms), hasTime: true, hasOffset: true };
  }
  const time = typeof value === 'string' ? parseTime(value) : undefined;
  if (time) return time;
  throw new ArgumentInvalid('needs an existing date or time in RFC 3339 format', value);
}

/** Reads a text. A number counts as the text of its digits. */
export function textOf(value: unknown): string {
  if (isExactNumber(given(value))) return digitsOf(value as ExactNumber);
  if (typeof value === 'object' && value !== null) throw new ArgumentInvalid('needs a text', value);
  return value === null ? '' : String(value);
}

/** Reads a list of texts and numbers. */
export function textsOf(value: unknown): string[] {
  if (!Array.isArray(given(value))) throw new ArgumentInvalid('needs a list', value);
  return (value as unknown[]).map((item) => {
    if (typeof item !== 'object' || item === null || isExactNumber(item)) return textOf(item ?? null);
    throw new ArgumentInvalid('needs a list of texts and numbers', value);
  });
}

export function oneOf<T extends string>(value: unknown, allowed: readonly T[], fallback: T): T {
  if (value === undefined) return fallback;
  if (allowed.includes(value as T)) return value as T;
  throw new ArgumentInvalid(`needs one of ${allowed.join(', ')}`, value);
}
