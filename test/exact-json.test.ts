import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  compareNumbers,
  digitsOf,
  exactNumber,
  exactReviver,
  isExactNumber,
  parseExact,
  roundNumbers,
} from '../src/exact-json.ts';
import { checkStorable } from '../src/intake/storable.ts';

const digits = (max: number) => fc.stringMatching(new RegExp(`^(0|[1-9][0-9]{0,${max}})$`));
/** Numbers as producers write them: any length, zeros at the end, exponents. */
const number = fc
  .tuple(
    fc.constantFrom('', '-'),
    digits(40),
    fc.option(fc.stringMatching(/^[0-9]{1,40}$/), { nil: undefined }),
    fc.option(fc.integer({ min: -60, max: 60 }), { nil: undefined }),
  )
  .map(
    ([sign, whole, fraction, exponent]) =>
      `${sign}${whole}${fraction === undefined ? '' : `.${fraction}`}${exponent === undefined ? '' : `e${exponent}`}`,
  );
/** The value of a number as a fraction of integers: the reference for all comparisons. */
function valueOf(source: string): [bigint, bigint] {
  const [, whole = '', fraction = '', exponent = '0'] = /^(-?\d+)(?:\.(\d+))?(?:e(.+))?$/.exec(source) ?? [];
  const shift = Number(exponent) - fraction.length;
  const all = BigInt(whole + fraction);
  return shift >= 0 ? [all * 10n ** BigInt(shift), 1n] : [all, 10n ** BigInt(-shift)];
}
const isLess = (a: string, b: string): boolean => {
  const [[top, bottom], [otherTop, otherBottom]] = [valueOf(a), valueOf(b)];
  return top * otherBottom < otherTop * bottom;
};

describe('parseExact', () => {
  it.each([
    ['12345678901234567890', '12345678901234567890'],
    ['9007199254740993', '9007199254740993'],
    ['-9007199254740993', '-9007199254740993'],
    ['1.10', '1.10'],
    ['0.0000001', '0.0000001'],
    ['3.141592653589793238', '3.141592653589793238'],
    ['1e2', '100'],
    ['1.10E+1', '11.0'],
    ['25e-4', '0.0025'],
    ['-0', '0'],
    ['-0.00', '0.00'],
    ['1e308', `1${'0'.repeat(308)}`],
  ])('reads %s as %s', (source, expected) => {
    expect(JSON.stringify(parseExact(`{"a": [${source}]}`))).toBe(`{"a":[${expected}]}`);
    expect(JSON.stringify(parseExact(source))).toBe(expected);
  });

  it('keeps the value of every number', () => {
    fc.assert(
      fc.property(number, (source) => {
        const [top, bottom] = valueOf(source);
        const [kept, keptBottom] = valueOf(JSON.stringify(parseExact(`[${source}]`)).slice(1, -1));
        expect(kept * bottom).toBe(top * keptBottom);
      }),
    );
  });

  it('keeps the spelling of every number without an exponent', () => {
    const plain = number.filter((source) => !source.includes('e') && !/^-0(?:\.0*)?$/.test(source));
    fc.assert(
      fc.property(plain, (source) => {
        expect(JSON.stringify(parseExact(source))).toBe(source);
      }),
    );
  });

  it('finds every number that needs its digits, between strings that look like numbers', () => {
    const text = fc.oneof(
      fc.string(),
      fc.constantFrom('\\', '"', '\\"', '1e5', ': 1.10,', '\\\\"12345678901234567890'),
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(text, number.map(exactNumber), fc.boolean())), (values) => {
        const json = JSON.stringify({ values, 'a"1.10': values });
        expect(parseExact(json)).toEqual(JSON.parse(json, exactReviver));
        expect(JSON.stringify(parseExact(json))).toBe(json);
      }),
    );
  });

  it('gives plain numbers where JavaScript keeps the digits', () => {
    fc.assert(
      fc.property(fc.oneof(fc.integer(), fc.constantFrom(1.5, -2.25, 1024, 0)), (value) => {
        expect(parseExact(`{"a":${value}}`)).toEqual({ a: value });
      }),
    );
  });

  it('makes own properties only, also of __proto__', () => {
    const parsed = parseExact('{"__proto__": {"a": 1.10}, "b": 1.10}') as Record<string, unknown>;
    expect(Object.keys(parsed)).toEqual(['__proto__', 'b']);
    expect(roundNumbers(parsed)).toEqual(JSON.parse('{"__proto__": {"a": 1.1}, "b": 1.1}'));
    expect(({} as Record<string, unknown>)['a']).toBeUndefined();
  });

  it('reads JSON that is nested deeper than the stack', () => {
    const deep = `${'['.repeat(50_000)}1.10${']'.repeat(50_000)}`;
    expect(checkStorable(parseExact(deep))?.message).toContain('nested deeper');
  });

  it.each(['1e999999', '-1e-999999', '9'.repeat(1_001), `1e${'9'.repeat(400)}`])(
    'reads a number that is too long, and checkStorable refuses it: %s',
    (source) => {
      expect(checkStorable({ a: [parseExact(source)] })).toEqual({
        path: 'a.0',
        message: 'is a number with more than 1000 digits',
      });
    },
  );

  it.each(['', '{', '01', '1.', '.5', '+1', '1e', '-', '"1.10', 'NaN', '{"a":1.10,}'])('throws for %s', (text) => {
    expect(() => parseExact(text)).toThrow(SyntaxError);
  });
});

describe('compareNumbers', () => {
  it('compares all digits', () => {
    fc.assert(
      fc.property(number, number, (a, b) => {
        const order = compareNumbers(exactNumber(a), exactNumber(b));
        expect(Math.sign(order)).toBe(isLess(a, b) ? -1 : isLess(b, a) ? 1 : 0);
      }),
    );
  });
});

describe('roundNumbers', () => {
  it('returns the same object when it has no exact number', () => {
    const value = { a: [1, { b: 'x', at: new Date(0) }] };
    expect(roundNumbers(value)).toBe(value);
  });

  it('rounds at any depth and leaves the original alone', () => {
    const value = parseExact('{"a": [{"b": 1.10}], "c": 12345678901234567890, "d": "1.10"}') as { c: unknown };
    expect(roundNumbers(value)).toEqual({ a: [{ b: 1.1 }], c: 12345678901234567000, d: '1.10' });
    expect(isExactNumber(value.c)).toBe(true);
  });
});

it('digitsOf prints a number without an exponent', () => {
  expect([1e21, 1e-7, -1.5, 0].map(digitsOf)).toEqual(['1000000000000000000000', '0.0000001', '-1.5', '0']);
});
