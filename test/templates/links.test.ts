import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { Budget, evaluate } from '../../src/templates/evaluate.ts';
import { analyse } from '../../src/templates/syntax.ts';

function render(source: string, data: object, isHtml: boolean): string {
  const { program, problems } = analyse(source);
  if (!program) throw new Error(problems[0]?.message);
  const message = { locale: 'en', timeZone: 'UTC', now: new Date(), unsubscribeUrl: null };
  return evaluate(program, { data, ...message, isHtml, budget: new Budget() });
}
const hrefOf = (html: string): string =>
  (/href=["']([^"']*)["']/.exec(html)?.[1] ?? '').replaceAll('&amp;', '&').replaceAll('&#x3D;', '=');

describe('a value in a link', () => {
  it.each([
    ['<a href="https://x.test/?q={{q}}">', { q: 'a b&c=d' }, '<a href="https://x.test/?q=a%20b%26c%3Dd">'],
    ["<a href='/find?q={{q}}'>", { q: "it's" }, "<a href='/find?q=it%27s'>"],
    ['<a href="?q={{q}}&amp;r={{r}}#{{s}}">', { q: '#', r: '+', s: 'a?b' }, '<a href="?q=%23&amp;r=%2B#a%3Fb">'],
    ['<a HREF = "https://x.test/?a&#61;{{q}}">', { q: 'đ' }, '<a HREF = "https://x.test/?a&#61;%C4%91">'],
    ['<img src="https://x.test/{{f}}.png">', { f: 'a/b?c#d%20' }, '<img src="https://x.test/a/b%3Fc%23d%2520.png">'],
    ['<a href="{{url}}">', { url: 'https://x.test/?a=1&b=2#c' }, '<a href="https://x.test/?a&#x3D;1&amp;b&#x3D;2#c">'],
    [
      '<a href="{{url}}&amp;c={{c}}">',
      { url: 'https://x.test/?a=1', c: '&' },
      '<a href="https://x.test/?a&#x3D;1&amp;c=%26">',
    ],
    [
      '<a href="{{base}}/p/{{id}}?q={{q}}">',
      { base: 'https://x.test', id: 'a b', q: '/' },
      '<a href="https://x.test/p/a%20b?q=%2F">',
    ],
    ['<a href="https://{{host}}/">', { host: 'x.test:8080' }, '<a href="https://x.test:8080/">'],
    [
      '<a href="mailto:{{to}}?subject={{s}}">',
      { to: 'a+b@x.test', s: 'Hi & bye' },
      '<a href="mailto:a+b@x.test?subject=Hi%20%26%20bye">',
    ],
    ['<a href="https://x.test/{{#if q}}?q={{q}}{{/if}}">', { q: '&' }, '<a href="https://x.test/?q=%26">'],
    [
      '<a href="https://x.test/{{#each l}}{{#if @first}}?{{else}}&amp;{{/if}}l={{this}}{{/each}}">',
      { l: ['&', '='] },
      '<a href="https://x.test/?l=%26&amp;l=%3D">',
    ],
    ['<a href="https://x.test/?q={{urlEncode q}}">', { q: 'a b' }, '<a href="https://x.test/?q=a%20b">'],
    ['<a href="https://x.test/?q={{default (urlEncode q) "-"}}">', { q: 'a b' }, '<a href="https://x.test/?q=a%20b">'],
    ['<a href="https://x.test/?q={{upper (urlEncode q)}}">', { q: 'a b' }, '<a href="https://x.test/?q=A%2520B">'],
    ['<a href="https://x.test/?{{{q}}}">', { q: 'a=b&c=d' }, '<a href="https://x.test/?a=b&c=d">'],
    ['<a href="?q={{e}}{{q}}">', { e: '', q: '&' }, '<a href="?q=%26">'],
    ['<a title="a?b={{q}}">', { q: 'a b' }, '<a title="a?b=a b">'],
    ['<p>Who? {{q}}</p>', { q: 'a & b' }, '<p>Who? a &amp; b</p>'],
    ['<p>https://x.test/?q={{q}}</p>', { q: 'a b' }, '<p>https://x.test/?q=a%20b</p>'],
    ['<a href="https://x.test/?q={{q}}">{{q}}</a>', { q: 'a b' }, '<a href="https://x.test/?q=a%20b">a b</a>'],
    ['<a href="https://x.test/?q={{q}}">', { q: '\ud800' }, '<a href="https://x.test/?q=%EF%BF%BD">'],
    [
      '<img srcset="https://x.test/?a={{q}} 1x, {{url}} 2x">',
      { q: '&', url: 'https://y.test/?b=1' },
      '<img srcset="https://x.test/?a=%26 1x, https://y.test/?b&#x3D;1 2x">',
    ],
  ])('of HTML %s is encoded for its place', (source, data, expected) => {
    expect(render(source, data, true)).toBe(expected);
  });

  it.each([
    ['Open https://x.test/?q={{q}} {{q}}', { q: 'a b' }, 'Open https://x.test/?q=a%20b a b'],
    ['[Find](https://x.test/?q={{q}}) {{q}}', { q: ')' }, '[Find](https://x.test/?q=%29) )'],
    ['{"url":"https://x.test/?q={{q}}","q":"{{q}}"}', { q: 'a&b' }, '{"url":"https://x.test/?q=a%26b","q":"a&b"}'],
    ['{{url}}', { url: 'https://x.test/?a=1&b=2' }, 'https://x.test/?a=1&b=2'],
    ['{{url}}&c={{c}}', { url: 'https://x.test/?a=1', c: '&' }, 'https://x.test/?a=1&c=%26'],
    ['{{a}}/{{b}}? {{c}}={{b}}', { a: 'R&D', b: 'a b', c: 'x' }, 'R&D/a b? x=a b'],
    ['Tel:{{a}} mailto:{{a}}', { a: '+84 90' }, 'Tel:+84 90 mailto:+84 90'],
    ['Total: {{a}}?{{b}}', { a: 5, b: '&' }, 'Total: 5?&'],
  ])('of the plain text %s is encoded for its place', (source, data, expected) => {
    expect(render(source, data, false)).toBe(expected);
  });

  it('is read back by a browser as it was, and adds no parameter', () => {
    const value = fc.string({ unit: 'binary', maxLength: 30 });
    fc.assert(
      fc.property(value, value, fc.constantFrom('"', "'"), (q, r, quote) => {
        const html = render(`<a href=${quote}https://x.test/p?q={{q}}&amp;r={{r}}#{{q}}${quote}>`, { q, r }, true);
        const url = new URL(hrefOf(html));
        expect([...url.searchParams]).toEqual([
          ['q', q.toWellFormed()],
          ['r', r.toWellFormed()],
        ]);
        expect(decodeURIComponent(url.hash.slice(1))).toBe(q.toWellFormed());
        const text = render('https://x.test/p?q={{q}}&r={{r}}', { q, r }, false);
        expect([...new URL(text).searchParams.values()]).toEqual([q.toWellFormed(), r.toWellFormed()]);
      }),
    );
  });
});
