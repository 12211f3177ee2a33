import { describe, expect, it } from 'vitest';

import type { SharedParts } from '../../src/templates/email.ts';
import { lintTemplate } from '../../src/templates/lint.ts';
import { renderTemplate } from '../../src/templates/render.ts';

const lint = (body: string, parts: Partial<SharedParts> = {}, locale = 'vi') =>
  lintTemplate(
    { channel: 'email', subject: 's', body, text: null },
    { mayUseRaw: false, email: { locale, parts: { layout: null, partials: {}, ...parts } } },
  );
const pageOf = async (...args: Parameters<typeof lint>): Promise<string> => {
  const { page, problems } = await lint(...args);
  expect(problems).toEqual([]);
  return page ?? '';
};
const problemsOf = async (...args: Parameters<typeof lint>): Promise<string[]> =>
  (await lint(...args)).problems.map(({ line, message }) => `${line ?? '-'} ${message}`);
const render = (page: string, params: Record<string, unknown>) =>
  renderTemplate(
    {
      templateId: page,
      version: 1,
      tenantId: 't',
      eventCode: 'e',
      channel: 'email',
      locale: 'vi',
      subject: null,
      body: page,
      text: null,
      defaultParams: {},
    },
    params,
  );
const mjml = (content: string, head = '') =>
  `<mjml>\n<mj-head>${head}</mj-head>\n<mj-body><mj-section><mj-column>\n${content}\n</mj-column></mj-section></mj-body></mjml>`;

describe('an email', () => {
  it('is a page with a lang attribute', async () => {
    const page = await pageOf('<p>{{a}}</p>');
    expect(page).toMatch(/^<!doctype html><html lang="vi">.*<body><p>\{\{a\}\}<\/p><\/body><\/html>$/);
    expect(await pageOf('<!doctype html>\n<html dir="ltr"><body>{{a}}</body></html>', {}, 'en-GB')).toContain(
      '<html lang="en-GB" dir="ltr">',
    );
    expect(await pageOf('<html lang="fr"><body>{{a}}</body></html>')).toContain('<html lang="fr">');
    expect(render(page, { a: '<b>' }).text).toBe('<b>');
  });

  it.each([
    ['ar', true],
    ['he-IL', true],
    ['fa', true],
    ['ur-PK', true],
    ['az-Arab', true],
    ['az', false],
    ['ar-Latn', false],
    ['vi', false],
    ['xx-1', false],
  ])('in %s is written from right to left: %s', async (locale, isRtl) => {
    const body = '<html lang="fr"><body>{{a}}</body></html>';
    for (const page of [
      await pageOf('<p>{{a}}</p>', {}, locale),
      await pageOf(body, {}, locale),
      await pageOf(mjml('<mj-text>a</mj-text>'), {}, locale),
    ]) {
      expect(/<html\b[^>]*\bdir="rtl"/.test(page)).toBe(isRtl);
    }
    expect(await pageOf('<html dir="ltr"><body>{{a}}</body></html>', {}, locale)).toContain(
      `<html lang="${locale}" dir="ltr">`,
    );
  });

  it('may contain the link to unsubscribe, which other channels may not', async () => {
    const body = '<p>{{#if @unsubscribeUrl}}<a href="{{@unsubscribeUrl}}">Stop</a>{{else}}none{{/if}}</p>';
    expect(await lint(body)).toMatchObject({ problems: [], usesUnsubscribeUrl: true, variables: [] });
    expect(await lint('<p>a</p>', { layout: `{{> body}}${body}` })).toMatchObject({ usesUnsubscribeUrl: true });
    expect(await lint('<p>a</p>')).toMatchObject({ usesUnsubscribeUrl: false });
    const sms = { channel: 'sms' as const, subject: null, body: '{{@unsubscribeUrl}}', text: null };
    expect((await lintTemplate(sms, { mayUseRaw: false })).problems).toEqual([
      { path: 'input.body', message: '@unsubscribeUrl is available only in emails' },
    ]);
    expect(render(body, {}).html).toBe('<p>none</p>');
  });

  it('has a plain text that separates the cells of a table', async () => {
    const page = await pageOf('<table>{{#each a}}<tr><td>{{n}}</td><td>{{p}}</td></tr>{{/each}}</table><p>end</p>');
    const items = [
      { n: 'Tea', p: 1 },
      { n: 'Cake', p: 2 },
    ];
    expect(render(page, { a: items }).text).toBe('Tea 1\nCake 2\n\nend');
    const many = Array.from({ length: 3_000 }, () => items[0]);
    expect(render(page, { a: many }).text).toMatch(/^(Tea 1\n){3000}end$/);
  });

  it('has inlined styles, except media queries', async () => {
    const page = await pageOf(
      '<style>p { color: red } @media (max-width: 480px) { p { color: blue } }</style><p class="{{a}}">{{#each b}}<i>{{default this "x"}}</i>{{/each}}</p>',
    );
    expect(page).toContain('<p class="{{a}}" style="color: red;">{{#each b}}<i>{{default this "x"}}</i>{{/each}}</p>');
    expect(page).toMatch(/<style>\s*@media \(max-width: 480px\)/);
  });

  it('may be written in MJML', async () => {
    const content =
      '<mj-text>Dear {{upper name}}{{#if vip}}, thanks{{/if}}</mj-text><mj-raw>{{#each items}}</mj-raw>' +
      '<mj-text>{{this}}</mj-text><mj-raw>{{/each}}</mj-raw><mj-button href="https://x.test/{{default id "a>b"}}">Go</mj-button>';
    const page = await pageOf(mjml(content, '<mj-title>{{name}}</mj-title>'));
    expect(page).toContain('<html lang="vi"');
    expect(page).not.toMatch(/<link|@import|fonts\.google/);
    const { html, text } = render(page, { name: 'Anna', vip: true, items: ['Tea', 'Cake'] });
    expect(html).toContain('href="https://x.test/a%3Eb"');
    expect(text.split(/\s*\n\s*/)).toEqual(expect.arrayContaining(['Dear ANNA, thanks', 'Tea', 'Cake']));
  });

  it.each([
    ['an unknown element', mjml('<mj-foo></mj-foo>'), '4 <mj-foo>: Element mj-foo'],
    [
      'an element in the wrong place',
      mjml('<mj-section></mj-section>'),
      '4 <mj-section>: mj-section cannot be used inside',
    ],
    ['an unknown attribute', mjml('<mj-text foo="1">x</mj-text>'), '4 <mj-text>: Attribute foo is illegal'],
    ['an element that is not closed', mjml('<mj-text>x'), '4 <mj-text> is not closed'],
    [
      'a block between elements',
      mjml('<mj-text>x</mj-text>\n{{#if a}}<mj-text>y</mj-text>{{/if}}'),
      '4 text in <mj-column>',
    ],
    ['an included file', mjml('<mj-include path="/etc/passwd" />'), '4 <mj-include> is not allowed'],
    ['remote fonts', mjml('', '<mj-font name="a" href="https://x.test/a.css" />'), '2 <mj-font> is not allowed'],
    ['a script', mjml('<mj-raw><script>1</script></mj-raw>'), '4 <script> is not allowed'],
    ['no body', '<mjml></mjml>', '1 '],
  ])('in MJML is refused with %s', async (_case, body, problem) => {
    const problems = (await problemsOf(body)).join('\n');
    expect(problems).toContain(problem);
    expect(problems).not.toMatch(/Line \d+ of|node_modules/);
  });

  it('is inserted into the layout of its tenant, and partials of both are expanded', async () => {
    const parts = {
      layout: '<html><body><h1>{{brand}}</h1>{{> body}}{{> footer}}</body></html>',
      partials: { footer: '<p>{{> address}}</p>', address: '{{city}}' },
    };
    const page = await pageOf('<p>{{a}}</p>{{> address}}', parts);
    expect(page).toBe('<html lang="vi"><body><h1>{{brand}}</h1><p>{{a}}</p>{{city}}<p>{{city}}</p></body></html>');
    expect((await lint('<p>{{a}}</p>', parts)).variables.map(({ path }) => path)).toEqual(['a', 'brand', 'city']);
    // A whole page is not inserted into the layout.
    expect(await pageOf('<html><body>{{a}}</body></html>', parts)).toBe('<html lang="vi"><body>{{a}}</body></html>');
    const layout = mjml('').replace('<mj-section><mj-column>\n\n</mj-column></mj-section>', '{{> body}}');
    expect(
      await pageOf('<mj-section><mj-column><mj-text>{{a}}</mj-text></mj-column></mj-section>', { layout }),
    ).toMatch(/<html lang="vi"[^]*>\{\{a\}\}<\/div>/);
  });

  it('is refused with partials that are unknown, recursive or too long', async () => {
    expect(await problemsOf('<p>\n{{> nobody}}</p>')).toEqual(['2 partial "nobody" does not exist (line 2, column 1)']);
    expect(await problemsOf('<p>{{> (lookup a "b")}}</p>')).toEqual([
      expect.stringContaining('a partial must have a literal name'),
    ]);
    expect(await problemsOf('<p>{{> a}}</p>', { partials: { a: '{{> a}}' } })).toEqual([
      '- partials are nested more than 5 levels deep',
    ]);
    const doubling = { a: '{{> b}}'.repeat(400), b: '{{> c}}'.repeat(400), c: 'x'.repeat(400) };
    expect(await problemsOf('<p>{{> a}}</p>', { partials: doubling })).toEqual([
      '- exceeds 256 K characters with its partials',
    ]);
    expect(await problemsOf('<p>{{> a}}</p>', { partials: { a: '<script>' } })).toEqual([
      '- with layout and partials: <script> is not allowed',
    ]);
  });
});
