/*
 * JSON without loss of digits. A number that JavaScript cannot print as it was written, such as `12345678901234567890` or
 * `1.10`, becomes an `ExactNumber` instead. `JSON.stringify` writes it back digit by digit, so it passes through the
 * database, GraphQL results and the bus without further code.
 */

/** A number with its digits, as `JSON.rawJSON` creates it. `rawJSON` is in plain notation, without an exponent. */
export interface ExactNumber {
  readonly rawJSON: string;
}

declare global {
  // Part of Node.js since version 21 and not yet of TypeScript.
  interface JSON {
    rawJSON(text: string): ExactNumber;
    isRawJSON(value: unknown): value is ExactNumber;
    parse(text: string, reviver: Reviver): unknown;
  }
}

type Reviver = (this: unknown, key: string, value: unknown, context?: { source?: string }) => unknown;

/** Maximum length of a number in plain notation, in characters. Every double of JavaScript is shorter. */
export const MAX_NUMBER = 1_000;

const NUMBER = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

export const isExactNumber = (value: unknown): value is ExactNumber => JSON.isRawJSON(value);

/** Returns true for `1` and for an {@link ExactNumber}. */
export const isNumber = (value: unknown): value is number | ExactNumber =>
  typeof value === 'number' || isExactNumber(value);

/**
 * Converts a number of a JSON text to a JavaScript number when that prints the same digits, else to an
 * {@link ExactNumber}. Exponents are expanded like PostgreSQL does: `1e2` is 100. An ExactNumber longer than
 * {@link MAX_NUMBER} keeps its spelling; `checkStorable` refuses it.
 */
export function exactNumber(source: string): number | ExactNumber {
  const number = Number(source);
  if (String(number) === source && !source.includes('e')) return number;
  const plain = plainNotation(source);
  // -0 becomes 0, as in PostgreSQL.
  return String(number) === plain ? number + 0 : JSON.rawJSON(plain);
}

function plainNotation(source: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = NUMBER.exec(source) ?? [];
  const shift = Number(exponent);
  if (source.length + Math.abs(shift) > MAX_NUMBER) return source;
  const digits = whole + fraction;
  const point = whole.length + shift;
  const padded = digits.padStart(digits.length + Math.max(0, 1 - point), '0');
  const at = Math.max(1, point);
  const before = padded
    .slice(0, at)
    .padEnd(at, '0')
    .replace(/^0+(?=\d)/, '');
  const after = padded.slice(at);
  const isZero = !/[1-9]/.test(digits);
  return `${isZero ? '' : sign}${before}${after === '' ? '' : `.${after}`}`;
}

/** A reviver of `JSON.parse`. Use {@link parseExact} where the whole text is known. */
export const exactReviver: Reviver = (_key, value, context) =>
  typeof value === 'number' && context?.source !== undefined ? exactNumber(context.source) : value;

/** Parses JSON without loss of digits. @throws {SyntaxError} */
export function parseExact(text: string): unknown {
  if (!mayLoseDigits(text)) return JSON.parse(text) as unknown;
  try {
    return JSON.parse(text, exactReviver);
  } catch (error) {
    // A reviver runs recursively, and some texts are nested deeper than the stack. They are refused later by their depth.
    if (error instanceof RangeError) return JSON.parse(text) as unknown;
    throw error;
  }
}

/** Maximum length of a number that keeps its digits in a double, in characters with the decimal point. */
const SAFE_LENGTH = 15;
const QUOTE = 0x22;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const BACKSLASH = 0x5c;

/**
 * Returns true when a JSON text may contain a number that `exactNumber` changes. Looking for one is much faster than
 * `JSON.parse` with a reviver, which calls it for every value.
 */
function mayLoseDigits(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === QUOTE) {
      index = endOfString(text, index);
      if (index === -1) return false;
    } else if (code === MINUS || (code >= ZERO && code <= NINE)) {
      const start = index;
      let hasPoint = false;
      let last = code;
      for (index += 1; index < text.length; index += 1) {
        const next = text.charCodeAt(index);
        if (next === POINT) hasPoint = true;
        else if (next < ZERO || next > NINE) {
          // `e`, `E`
          if ((next | 0x20) === 0x65) return true;
          break;
        }
        last = next;
      }
      if (index - start > SAFE_LENGTH || (code === MINUS && last === ZERO && index - start === 2)) return true;
      // JavaScript prints 0.0000001 as 1e-7.
      if (hasPoint && (last === ZERO || text.startsWith('.000000', text.indexOf('.', start)))) return true;
      index -= 1;
    }
  }
  return false;
}

/** Returns the index of the closing quote; -1 when there is none. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return end;
  }
  return -1;
}

/**
 * Compares two numbers by all their digits.
 *
 * @returns a negative number, 0 or a positive number, like the callback of `sort`.
 */
export function compareNumbers(a: number | ExactNumber, b: number | ExactNumber): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  const [left, right] = [partsOf(a), partsOf(b)];
  if (left.isNegative !== right.isNegative) return left.isNegative ? -1 : 1;
  const order =
    left.whole.length - right.whole.length || Number(left.digits > right.digits) - Number(left.digits < right.digits);
  return left.isNegative ? -order : order;
}

/** The digits before the point, and all digits without zeros at the end. */
function partsOf(value: number | ExactNumber): { isNegative: boolean; whole: string; digits: string } {
  const [whole = '', fraction = ''] = digitsOf(value).replace('-', '').split('.');
  const digits = (whole + fraction.replace(/0+$/, '')).padEnd(whole.length, '0');
  return { isNegative: digitsOf(value).startsWith('-'), whole, digits };
}

/** Returns the digits of a number, without an exponent. */
export const digitsOf = (value: number | ExactNumber): string =>
  isExactNumber(value) ? value.rawJSON : plainNotation(String(value));

/** Replaces each {@link ExactNumber} by the nearest JavaScript number. Returns the same object when there is none. */
export function roundNumbers<T>(value: T): T {
  return round(value) as T;
}

function round(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (isExactNumber(value)) return Number(value.rawJSON);
  if (Array.isArray(value)) {
    const items = value.map(round);
    return items.some((item, index) => item !== value[index]) ? items : value;
  }
  // Objects of other classes, such as dates, contain no JSON.
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) return value;
  let changed: Record<string, unknown> | undefined;
  for (const [key, inner] of Object.entries(value)) {
    const rounded = round(inner);
    if (rounded === inner) continue;
    changed ??= Object.assign(Object.create(prototype as object | null) as Record<string, unknown>, value);
    Object.defineProperty(changed, key, { value: rounded, writable: true, enumerable: true, configurable: true });
  }
  return changed ?? value;
}
