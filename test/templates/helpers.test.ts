import { describe, expect, it } from 'vitest';

import { parseExact } from '../../src/exact-json.ts';
import { Budget, evaluate, TemplateInvalid, TemplateVariableMissing } from '../../src/templates/evaluate.ts';
import { analyse } from '../../src/templates/syntax.ts';

const NOW = new Date('2026-11-26T20:30:00Z');

function render(source: string, params = '{}', { locale = 'en', timeZone = 'UTC' } = {}): string {
  const { program, problems } = analyse(source);
  if (!program) throw new Error(problems[0]?.message);
  const message = { locale, timeZone, now: NOW, unsubscribeUrl: null };
  return evaluate(program, { data: parseExact(params), ...message, isHtml: false, budget: new Budget() }).replaceAll(
    /[\u00a0\u202f]/g,
    ' ',
  );
}
const problemOf = (source: string, params: string): string => {
  try {
    return render(source, params);
  } catch (error) {
    if (error instanceof TemplateInvalid) return error.message;
    throw error;
  }
};

describe('numbers', () => {
  it.each([
    ['{{n}}', '{"n": 12345678901234567890}', '12345678901234567890'],
    ['{{n}}', '{"n": 0.10}', '0.10'],
    ['{{n}}', '{"n": 1e21}', '1000000000000000000000'],
    ['{{#each l}}{{this}};{{/each}}', '{"l": [1.0, 9007199254740993]}', '1.0;9007199254740993;'],
    ['{{#each o}}{{@key}}={{this}};{{/each}}', '{"o": {"a": 1.50}}', 'a=1.50;'],
    ['{{#each n}}x{{else}}empty{{/each}}', '{"n": 1.50}', 'empty'],
    ['{{l}}', '{"l": [1.0, [2.50]]}', '1.0,2.50'],
    ['{{#with n}}{{this}}{{else}}none{{/with}}', '{"n": 0.00}', '0.00'],
    ['{{#if n}}yes{{else}}no{{/if}}', '{"n": 0.00}', 'no'],
    ['{{#if n}}yes{{else}}no{{/if}}', '{"n": 0.0000001}', 'yes'],
    ['{{default n.rawJSON "nothing"}}', '{"n": 1.10}', 'nothing'],
    ['{{upper n}}', '{"n": 1.10}', '1.10'],
    ['{{formatNumber n}}', '{"n": -12345678901234567890.125}', '-12,345,678,901,234,567,890.125'],
    ['{{formatNumber n}}', '{"n": "12345678901234567890.5"}', '12,345,678,901,234,567,890.5'],
    ['{{formatNumber n}}', '{"n": 0.12345678901234567}', '0.12345678901234567'],
    ['{{formatNumber n decimals=2}}', '{"n": 1.005}', '1.01'],
    ['{{formatNumber n decimals=0}}', '{"n": 9007199254740993.5}', '9,007,199,254,740,994'],
    ['{{formatMoney n currency="USD"}}', '{"n": 12345678901234567890.12}', '$12,345,678,901,234,567,890.12'],
    ['{{formatMoney n currency="USD"}}', '{"n": 1.005}', '$1.01'],
    ['{{plural n one="item" other="items"}}', '{"n": 1.0}', 'item'],
    ['{{#if (eq n 9007199254740993)}}same{{/if}}', '{"n": 9007199254740993}', 'same'],
    ['{{#if (eq n 9007199254740992)}}same{{else}}other{{/if}}', '{"n": 9007199254740993}', 'other'],
    ['{{#if (eq n 1.1)}}same{{/if}}', '{"n": 1.10}', 'same'],
    ['{{#if (eq n "1.10")}}same{{else}}other{{/if}}', '{"n": 1.10}', 'other'],
    ['{{#if (gt n 9007199254740992)}}more{{/if}}', '{"n": 9007199254740993}', 'more'],
    ['{{#if (lt n -0.0000001)}}less{{/if}}', '{"n": -0.00000011}', 'less'],
    ['{{#if (gte n "10")}}more{{/if}}', '{"n": 10.0}', 'more'],
    ['{{#if (lte a b)}}before{{/if}}', '{"a": "2026-01-01T00:00:00+07:00", "b": "2026-01-01"}', 'before'],
  ])('%s with %s gives %s', (source, params, expected) => {
    expect(render(source, params)).toBe(expected);
  });

  it('has the plural form of a long number', () => {
    const source = '{{plural n one="день" few="дня" many="дней" other="дня"}}';
    const form = (n: string): string => render(source, `{"n": ${n}}`, { locale: 'ru' });
    expect(['12345678901234567891', '12345678901234567892', '12345678901234567911'].map(form)).toEqual([
      'день',
      'дня',
      'дней',
    ]);
  });
});

describe('times', () => {
  it.each([
    ['{{formatDate at}}', '{"at": "2026-11-26"}', 'Nov 26, 2026'],
    ['{{formatDate at time="short"}}', '{"at": "2026-11-26"}', 'Nov 26, 2026'],
    ['{{formatDate at time="short"}}', '{"at": "2026-11-26t20:30:00z"}', 'Nov 26, 2026, 3:30 PM'],
    ['{{formatDate at}}', '{"at": 1795725000000.0}', 'Nov 26, 2026'],
    ['{{formatTime at style="medium"}}', '{"at": "2026-11-26T20:30:05+07:00"}', '8:30:05 AM'],
    ['{{formatRelative at}}', '{"at": "2026-11-26T20:29:15Z"}', '45 seconds ago'],
    ['{{formatRelative at}}', '{"at": "2026-11-26T21:29:50Z"}', 'in 1 hour'],
    ['{{formatRelative at}}', '{"at": "2026-11-28T21:30:00Z"}', 'in 2 days'],
    ['{{formatRelative at}}', '{"at": "2026-11-27"}', 'tomorrow'],
    ['{{formatRelative at numeric="always" style="short"}}', '{"at": "2024-11-26T20:30:00Z"}', '2 yr. ago'],
  ])('%s with %s gives %s in New York', (source, params, expected) => {
    expect(render(source, params, { timeZone: 'America/New_York' })).toBe(expected);
  });

  it.each([
    '"2026-02-29"',
    '"2026-13-01"',
    '"2026-04-31T10:00:00Z"',
    '"2026-01-01T24:00:00Z"',
    '"soon"',
    'true',
    '1e300',
  ])('formatDate, formatTime and formatRelative fail for %s and name the variable', (value) => {
    for (const helper of ['formatDate', 'formatTime', 'formatRelative']) {
      const problem = `${helper} needs an existing date or time in RFC 3339 format as order.at (line 1, column 5)`;
      expect(problemOf(`At: {{${helper} order.at}}`, `{"order": {"at": ${value}}}`)).toBe(problem);
    }
  });
});

describe('lists and texts', () => {
  it.each([
    [
      '{{#each a}}{{#each b}}{{@../index}}.{{@index}} {{/each}}{{/each}}',
      '{"a": [{"b": [1, 2]}, {"b": [3]}]}',
      '0.0 0.1 1.0 ',
    ],
    [
      '{{#each a}}{{#with this}}{{#if b}}{{#each b}}{{@../key}}{{@../first}}{{@../last}}{{/each}}{{/if}}{{/with}}{{/each}}',
      '{"a": {"x": {"b": [1]}}}',
      'xtruetrue',
    ],
    [
      '{{#each a}}{{#each this}}{{#each this}}{{@../../index}}{{@../index}}{{@index}} {{/each}}{{/each}}{{/each}}',
      '{"a": [[[1]], [[1, 1]]]}',
      '000 100 101 ',
    ],
    ['{{#each a}}{{#each b}}x{{else}}{{@index}}{{/each}}{{/each}}', '{"a": [{"b": []}, {"b": []}]}', '01'],
    ['{{join l}}', '{"l": []}', ''],
    ['{{join l "; "}}', '{"l": ["a", 1.10, null, true]}', 'a; 1.10; ; true'],
    ['{{formatList l}}', '{"l": ["a", "b", "c"]}', 'a, b, and c'],
    ['{{formatList l}}', '{"l": ["a"]}', 'a'],
    ['{{truncate t 5}}', '{"t": "abcde"}', 'abcde'],
    ['{{truncate t 5}}', '{"t": "abcdef"}', 'abcd…'],
    ['{{truncate t 3}}', '{"t": "👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧"}', '👩‍👩‍👧👩‍👩‍👧…'],
    ['{{truncate t 2}}', '{"t": "e\\u0301e\\u0301"}', 'e\u0301e\u0301'],
    ['{{truncate t 3}}', '{"t": "🇻🇳🇻🇳🇻🇳"}', '🇻🇳🇻🇳🇻🇳'],
    ['{{truncate t 4 ellipsis="..."}}', '{"t": "abcdef"}', 'a...'],
  ])('%s with %s gives %s', (source, params, expected) => {
    expect(render(source, params)).toBe(expected);
  });

  it.each([
    ['{{join l}}', '{"l": "abc"}', 'join needs a list as l (line 1, column 1)'],
    ['{{formatList l}}', '{"l": [{"a": 1}]}', 'formatList needs a list of texts and numbers as l (line 1, column 1)'],
    ['{{truncate t}}', '{"t": "a"}', 'truncate needs 2 arguments (line 1, column 1)'],
    ['{{truncate t n}}', '{"t": "a", "n": 0}', 'truncate needs a length from 1 to 10000 as n (line 1, column 1)'],
    [
      '{{truncate t 2 ellipsis="..."}}',
      '{"t": "abcd"}',
      'truncate needs a length that is not shorter than the ellipsis (line 1, column 1)',
    ],
    [
      '{{#if (gt a b)}}{{/if}}',
      '{"a": 1, "b": "x"}',
      'gt needs two numbers, or two times in RFC 3339 format as b (line 1, column 7)',
    ],
    [
      '{{#if (lt a b)}}{{/if}}',
      '{"a": 1, "b": "2026-01-01"}',
      'lt needs two numbers, or two times in RFC 3339 format as a (line 1, column 7)',
    ],
    ['{{#if (lte a)}}{{/if}}', '{"a": 1}', 'lte needs 2 arguments (line 1, column 7)'],
    ['{{formatNumber n}}', '{"n": "12a"}', 'formatNumber needs a number as n (line 1, column 1)'],
    ['{{formatNumber n}}', '{"n": "1e999999"}', 'formatNumber needs a number as n (line 1, column 1)'],
    ['{{urlEncode o}}', '{"o": {}}', 'urlEncode needs a text as o (line 1, column 1)'],
  ])('%s with %s fails: %s', (source, params, expected) => {
    expect(problemOf(source, params)).toBe(expected);
  });

  it('gt reports a missing variable', () => {
    expect(() => render('{{#if (gt n 1)}}{{/if}}')).toThrow(TemplateVariableMissing);
  });

  it.each([
    '{{@../index}}',
    '{{#each a}}{{@../index}}{{/each}}',
    '{{#each a}}{{#with b}}{{@../key}}{{/with}}{{/each}}',
    '{{#each a}}{{#each b}}{{@../locale}}{{/each}}{{/each}}',
  ])('%s is refused when it is saved', (source) => {
    expect(analyse(source).program).toBeNull();
  });

  it('joins only as much as a message may take', () => {
    const list = JSON.stringify(Array(50_000).fill('x'));
    expect(problemOf('{{join l}}', `{"l": ${list}}`)).toContain('too many steps');
  });
});
