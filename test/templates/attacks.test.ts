import { describe, expect, it } from 'vitest';

import { newId } from '../../src/ids.ts';
import { diffOf } from '../../src/templates/editing.ts';
import { lintTemplate } from '../../src/templates/lint.ts';
import { previewTemplate } from '../../src/templates/preview.ts';
import { createTemplateReader } from '../../src/templates/read.ts';
import { compileTemplate, renderTemplate, TemplateInvalid } from '../../src/templates/render.ts';

const texts = (body: string) => ({ channel: 'email' as const, subject: 's', body, text: null });
const published = (body: string) => ({
  ...texts(body),
  templateId: newId(),
  version: 1,
  tenantId: 't',
  eventCode: 'e',
  locale: 'vi',
  defaultParams: {},
});
const render = (body: string, params: Record<string, unknown>): string =>
  renderTemplate(published(body), params).html ?? '';
const lint = async (body: string): Promise<string[]> =>
  (await lintTemplate(texts(body), { mayUseRaw: false })).problems.map(({ message }) => message);

const outcomeOf = (attempt: () => string): string => {
  try {
    return attempt();
  } catch (error) {
    return (error as Error).name;
  }
};

describe('params', () => {
  it.each([
    ['<a href="{{x}}">a</a>', 'javascript:alert(1)'],
    ['<a href="{{x}}">a</a>', ' java\tscript:alert(1)'],
    ['<a href="java{{x}}">a</a>', 'script:alert(1)'],
    ['<a href="{{#if x}}java{{/if}}{{x}}">a</a>', 'script:alert(1)'],
    ['<a href="java{{#if x}}script:{{/if}}1">a</a>', '1'],
    ['<a href="java&#{{x}};cript:1">a</a>', '115'],
    ['<img srcset="a.png 1x, {{x}} 2x">', 'vbscript:1'],
    ['<p style="color: {{x}}">a</p>', 'red; background: url(javascript:1)'],
    ['<a href="{{x}}">a</a>', 'data:text/html,<script>1</script>'],
  ])('that make %s unsafe with %j end in TemplateInvalid', async (body, x) => {
    expect(await lint(body)).toEqual([]);
    expect(() => render(body, { x })).toThrow(TemplateInvalid);
  });

  it('with safe URLs and styles are rendered', () => {
    const body = '<a href="{{x}}">a</a><a href="https://{{y}}/{{z}}">b</a><p style="color: {{c}}">c</p>';
    const html = render(body, { x: 'https://x.test', y: 'y.test', z: '"><script>', c: 'red' });
    expect(html).toBe(
      '<a href="https://x.test">a</a><a href="https://y.test/%22%3E%3Cscript%3E">b</a><p style="color: red">c</p>',
    );
  });
});

// Known attacks on Handlebars (2019–2025), in which templates or data reach code.
describe('an attack on Handlebars', () => {
  it.each([
    '{{constructor.constructor "return process"}}',
    '{{#with "s" as |string|}}{{#with "e"}}{{#with split as |conslist|}}{{this.pop}}{{/with}}{{/with}}{{/with}}',
    '{{#with (lookup this "constructor")}}{{name}}{{/with}}',
    '{{lookup (lookup this "__proto__") "constructor"}}',
    '{{__defineGetter__ "x" 1}}',
    '{{#with __proto__ as |p|}}{{p.polluted}}{{/with}}',
    '{{this.__lookupGetter__ "x"}}',
    '{{valueOf.constructor.name}}',
    '{{["constructor"].name}}',
    '{{[__proto__].[constructor]}}',
    '{{@root.constructor}}',
    '{{@../constructor}}',
    '{{../constructor}}',
    '{{> (lookup . "x")}}',
    '{{#> layout}}x{{/layout}}',
    '{{#*inline "x"}}y{{/inline}}',
    '{{* decorator}}',
    '{{log "x"}}',
    '{{helperMissing "x"}}',
    '{{blockHelperMissing "x"}}',
    '{{#helperMissing}}x{{/helperMissing}}',
    '{{"constructor"}}',
    '{{(lookup this "constructor") "return process"}}',
    '{{#if a b=(constructor)}}x{{/if}}',
    '{{toString}}{{hasOwnProperty}}{{a.length}}{{a.concat}}',
  ])('by %s reaches neither prototypes nor functions', async (body) => {
    const refused = await lint(`<p>${body}</p>`);
    const outcome = outcomeOf(() => render(`<p>${body}</p>`, { a: 'x' }));
    expect(outcome).not.toMatch(/function|process|\[native|\[object Object\]/);
    expect(refused.length > 0 || outcome === 'TemplateVariableMissing').toBe(true);
  });

  it('by `__proto__` in params does not reach a prototype', () => {
    const data = JSON.parse('{"__proto__": {"polluted": 1}, "a": {"constructor": {"name": "x"}}, "b": {"toHTML": 1}}');
    expect(() => render('<p>{{polluted}}</p>', data)).toThrow('"polluted"');
    expect(render('<p>{{b}}</p>', data)).toBe('<p>[object]</p>');
    expect((Object.prototype as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('by `toString` and similar keys in params does not call them', () => {
    const odd = { toString: 1, valueOf: 'x', join: 2, length: 3, [Symbol.toPrimitive.toString()]: 4 };
    expect(render('<p>{{a}}</p>', { a: odd })).toBe('<p>[object]</p>');
    expect(render('<p>{{a}}</p>', { a: [odd, [1, ['<', null]], true] })).toBe('<p>[object],1,&lt;,,true</p>');
    let deep: unknown = 1;
    for (let level = 0; level < 10_000; level += 1) deep = [deep];
    expect(() => render('<p>{{a}}</p>', { a: deep })).toThrow(TemplateInvalid);
    expect(render('<p>{{b}}</p>', { a: deep, b: 1 })).toBe('<p>1</p>');
  });
});

const PREVIEW = {
  parts: { layout: null, partials: {} },
  eventCode: undefined,
  settings: { events: {}, categories: {} },
};

describe('excessive use', () => {
  const long = 'x'.repeat(100_000);
  it.each([
    ['a long value that is printed many times', '<p>' + '{{a}}'.repeat(400) + '</p>', { a: '<'.repeat(100_000) }],
    ['a long value in a list', '<p>{{#each b}}{{../a}}{{/each}}</p>', { a: long, b: Array(1_000).fill(1) }],
    [
      'a long value as argument of many helpers',
      '<p>' + '{{#if (eq (upper a) 1)}}x{{/if}}'.repeat(200) + '</p>',
      { a: long },
    ],
    [
      'nested lists',
      '<p>{{#each a}}{{#each ../a}}{{#each ../../a}}{{/each}}{{/each}}{{/each}}</p>',
      { a: Array(1_000).fill(1) },
    ],
    ['lists of empty texts', '<p>{{#each a}}{{#each ../a}}{{/each}}{{/each}}</p>', { a: Array(100_000).fill('') }],
    [
      'a text that is repeated in a list',
      `<p>{{#each a}}${'y'.repeat(10_000)}{{/each}}</p>`,
      { a: Array(1_000).fill(1) },
    ],
    [
      'hundreds of time zones',
      '<p>{{#each a}}{{formatDate "2025-01-01" timeZone=this}}{{/each}}</p>',
      { a: Intl.supportedValuesOf('timeZone') },
    ],
  ])('of %s ends in TemplateInvalid', (_case, body, params) => {
    expect(() => render(body, params)).toThrow(TemplateInvalid);
  });

  it.each([
    ['nested helpers', `<p>{{and ${'(and '.repeat(5_000)}a${')'.repeat(5_000)}}}</p>`],
    ['arguments', `<p>{{and ${'a '.repeat(20_000)}}}</p>`],
    ['options', `<p>{{and ${'a=b '.repeat(10_000)}}}</p>`],
    ['names in one path', `<p>{{${'a.'.repeat(10_000)}a}}</p>`],
    ['brackets', `<p>{{${'['.repeat(30_000)}`],
    ['brackets in many expressions', `<p>${'{{[}}'.repeat(10_000)}`],
    ['quotes', `<p>{{and "${'\\"'.repeat(30_000)}`],
    ['line breaks before a block', `<p>${'\n'.repeat(30_000)}x{{#if a}}{{/if}}`],
    ['braces', '{'.repeat(60_000)],
    ['open expressions', '<p>' + '{{'.repeat(30_000)],
    ['open comments', '<p>' + '{{!--'.repeat(10_000)],
    ['open blocks', '<p>' + '{{#if a}}'.repeat(5_000)],
  ])('of %s is refused before the template is parsed', async (_case, body) => {
    expect(await lint(body)).not.toEqual([]);
    expect(() => render(body, {})).toThrow(TemplateInvalid);
  });

  it('of different lines in an edit gives a diff of bounded length', () => {
    const lines = (name: string) =>
      Array.from({ length: 6_000 }, (_unused, index) => `${name}${(index * 7_919) % 6_007}`);
    const version = (body: string) => ({ subject: null, body, text: null, defaultParams: {} });
    const diff = diffOf(version(lines('a').join('\n')), version(lines('b').join('\n')));
    expect(diff).toMatch(/^-subject: \n-a0\n[^]*\n\+subject: \n\+b0\n/);
    expect(diff.length).toBeLessThanOrEqual(16_000);
  });

  it('of large templates does not block the event loop', async () => {
    const words = '{{formatDate a style="long" time="short" timeZone="Asia/Ho_Chi_Minh"}} ';
    const bodies = [
      `<p>${'{{a}} '.repeat(490)}</p>`,
      `<p>${words.repeat(140)}</p>`,
      `<p>${'{{#if a}}x{{else}}y{{/if}}'.repeat(240)}</p>`,
      `<p>${' '.repeat(400)}{{#if a}}\n{{/if}}\n`.repeat(140),
      `<p>${'<b a="{{a}}">x</b>'.repeat(490)}</p>`,
    ];
    const read = createTemplateReader();
    await read(`<p>${'{{a}}'.repeat(400)}</p>`);
    let turns = 0;
    const turning = setInterval(() => (turns += 1), 1);
    // A batch of templates that are not cached.
    const compiled = await Promise.all(bodies.map((body) => compileTemplate(texts(body), read)));
    clearInterval(turning);
    expect(compiled.map(({ body }) => body.problems)).toEqual(bodies.map(() => []));
    // The timer fired while each template was parsed, not only once after all of them.
    expect(turns).toBeGreaterThan(bodies.length);
  });

  it('of nesting in params is refused with its path, and a preview does not change its params', async () => {
    const source = { ...texts('<p>{{a.b}}</p>'), locale: 'vi', defaultParams: {} };
    const options = { ...PREVIEW, timeZone: 'UTC', mayUseRaw: false };
    const given = { a: { c: 1 }, x: 1 };
    const preview = await previewTemplate(source, given, options);
    expect(preview).toMatchObject({ missingVariables: ['a.b'], unusedVariables: ['x'] });
    expect(given).toEqual({ a: { c: 1 }, x: 1 });
    let deep: unknown = 1;
    for (let level = 0; level < 10_000; level += 1) deep = { a: deep };
    await expect(previewTemplate(source, { deep }, options)).rejects.toThrow(/^input\.params\.deep\.a\.a.*: is nested/);
    await expect(previewTemplate({ ...source, defaultParams: { x: 'a\0' } }, {}, options)).rejects.toThrow(
      'input.defaultParams.x: contains a NUL character',
    );
  });

  it('of previews renders the same text as the published template', async () => {
    const live = published('<p>{{a}}</p>');
    const first = renderTemplate(live, { a: 1 });
    const source = { ...texts('<p>{{a}}</p>'), locale: 'vi', defaultParams: {} };
    const previews = await Promise.all(
      Array.from({ length: 20 }, () =>
        previewTemplate(source, { a: 1 }, { ...PREVIEW, timeZone: 'UTC', mayUseRaw: false }),
      ),
    );
    expect(previews.map(({ text }) => text)).toEqual(previews.map(() => first.text));
  });
});
