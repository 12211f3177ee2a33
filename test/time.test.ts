import fc from 'fast-check';
import { expect, it } from 'vitest';

import { parseDateTime, parseTime } from '../src/time.ts';

it.each([
  ['2026-02-28T10:00:00Z', '2026-02-28T10:00:00.000Z'],
  ['2024-02-29T23:59:59.999999Z', '2024-02-29T23:59:59.999Z'],
  ['2026-11-26t20:30:00z', '2026-11-26T20:30:00.000Z'],
  ['2026-11-26 20:30:00+07:00', '2026-11-26T13:30:00.000Z'],
  ['2026-12-31T23:30:00-05:30', '2027-01-01T05:00:00.000Z'],
  ['2026-11-26T20:30:00.5-00:00', '2026-11-26T20:30:00.500Z'],
  ['0099-01-01T00:00:00Z', '0099-01-01T00:00:00.000Z'],
])('%s is a time', (text, expected) => {
  expect(parseDateTime(text)?.toISOString()).toBe(expected);
});

it.each([
  '2026-02-29',
  '1900-02-29',
  '2026-02-29T00:00:00Z',
  '2026-02-30T00:00:00Z',
  '2026-04-31T10:00:00Z',
  '2026-13-01',
  '2026-00-10',
  '2026-01-00',
  '2026-01-32',
  '2026-01-01T24:00:00Z',
  '2026-01-01T25:00:00Z',
  '2026-01-01T10:60:00Z',
  '2026-01-01T10:00:61Z',
  '2016-12-31T23:59:60Z',
  '2026-01-01T10:00:00+24:00',
  '2026-01-01T10:00:00+07:60',
  '2026-01-01T10:00:00+07',
  '0000-01-01',
  '0001-01-01T00:00:00+01:00',
  '9999-12-31T23:59:59-01:00',
  '+002026-01-01',
  '2026-1-1',
  '20260101',
  '2026-01-01T',
  '2026-01-01Z',
  '2026-W01-1',
  'Jan 1, 2026',
  '2026-01-01T10:00:00 Z',
  ' 2026-01-01',
  '2026-01-01\n',
  '',
])('%s is no time', (text) => {
  expect(parseTime(text)).toBeUndefined();
});

it('accepts exactly the days of the calendar', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9999 }), fc.nat(14), fc.nat(33), (year, month, day) => {
      const two = (value: number): string => String(value).padStart(2, '0');
      const text = `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}`;
      const days = [31, year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28, 31, 30, 31, 30];
      const all = [...days, 31, 31, 30, 31, 30, 31];
      const isDay = day >= 1 && day <= (all[month - 1] ?? 0);
      expect(parseTime(text)?.at.toISOString().slice(0, 10)).toBe(isDay ? text : undefined);
    }),
  );
});

it('tells a date and a time without offset apart', () => {
  expect(parseTime('2026-11-26')).toMatchObject({ hasTime: false });
  expect(parseTime('2026-11-26T20:30')).toMatchObject({ hasTime: true, hasOffset: false });
  expect([parseDateTime('2026-11-26'), parseDateTime('2026-11-26T20:30:00')]).toEqual([undefined, undefined]);
});
