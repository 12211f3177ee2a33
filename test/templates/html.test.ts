import { describe, expect, it } from 'vitest';

import { lintTemplate } from '../../src/templates/lint.ts';

/** Returns the problems of a mail body as `line:column message`. */
const problemsOf = async (body: string, mayUseRaw = false): Promise<string[]> => {
  const { problems } = await lintTemplate({ channel: 'email', subject: 's', body, text: null }, { mayUseRaw });
  return problems.map(({ line, column, message }) => `${line}:${column} ${message}`);
};

describe('HTML checks of a template', () => {
  it.each([
    ['text and quoted attributes', '<p title="{{a}}" class=\'x {{b}}\'>{{c}}</p>'],
    [
      'whole blocks in text and attributes',
      '<a href="https://x.test/{{#if a}}{{b}}{{else}}c{{/if}}">{{#each d}}<b>{{this}}</b>{{/each}}</a>',
    ],
    ['mailto, tel and fragment URLs', '<a href="mailto:a@b.test"></a><a href="tel:1"></a><a href="#x"></a>'],
    [
      'conditional comments for Outlook',
      '<!--[if mso]><table width="600"><tr><td><![endif]--><p>x</p><!--[if mso]></td></tr></table><![endif]-->',
    ],
    [
      'styles',
      '<style>p { color: red; scroll-behavior: smooth }</style><p style="background: url(https://x.test/a.png)">x</p>',
    ],
    [
      'a whole page',
      '<!doctype html><html><head><meta charset="utf-8"><title>{{a}}</title></head><body>{{b}}</body></html>',
    ],
    ['HTML and Handlebars comments', '<!-- x --><p>{{! a note <p }}{{!-- {{b}} --}}x</p>'],
    ['an escaped expression', '<p>\\{{a}}</p>'],
  ])('accept %s', async (_case, body) => {
    expect(await problemsOf(body)).toEqual([]);
  });

  const PLACE = 'expressions are allowed in text and in quoted attributes only, not in tags or comments';
  const BLOCK = 'a block must start and end in the same text or the same attribute';
  const QUOTES = 'put quotes around an attribute that contains an expression';
  const LESS = 'write "<" before an expression as &lt;';
  it.each([
    ['an expression instead of an attribute', '<p>\n<p {{x}}>', `2:4 ${PLACE}`],
    ['an expression in the name of an attribute', '<p da{{x}}="1">', `1:6 ${PLACE}`],
    ['an expression in a tag', '<p>a</p><h{{x}}>b', '1:11 expressions are not allowed in a tag'],
    ['an expression in a closing tag', '<p></p {{x}}>', '1:6 a closing tag may contain only its name'],
    ['an expression in a comment', '<p>a</p><!-- {{x}} -->', `1:14 ${PLACE}`],
    [
      'an expression in a style sheet',
      '<style>p { color: {{x}} }</style>',
      '1:19 expressions are not allowed in <style>',
    ],
    ['an attribute without quotes', '<a href={{x}}>a</a>', `1:9 ${QUOTES}`],
    ['an attribute without quotes after white space', '<a href =\n  {{x}}>a</a>', `2:3 ${QUOTES}`],
    ['an attribute without quotes after a quoted ">"', '<p class="a>b" title={{x}}>a</p>', `1:22 ${QUOTES}`],
    ['an attribute without quotes that is partly an expression', '<a href=/x/{{x}}>a</a>', `1:12 ${QUOTES}`],
    ['a block that opens an attribute', '<a {{#if q}}title="{{/if}}href="{{u}}" b="">', `1:4 ${PLACE}`],
    ['a block that closes an attribute', '<a title="{{#if q}}x" {{/if}}href="{{u}}">', `1:11 ${PLACE}`],
    ['a block across attributes', '<a title="{{#if q}}x" href="y{{/if}}">', `1:11 ${BLOCK}`],
    ['a block across a title', '<title>{{#if q}}</title>{{/if}}', `1:8 ${BLOCK}`],
    [
      'a block across the end of a conditional comment',
      '<!--[if mso]>{{#if q}}<![endif]--><p>x</p>{{/if}}',
      `1:14 ${BLOCK}`,
    ],
    ['a "<" before a block', '<p>x</p><{{#if q}}{{/if}}img src=x>', `1:10 ${LESS}`],
    ['a "</" before an expression', '<title></{{x}}title><p>', `1:10 ${LESS}`],
    ['raw HTML', '<p>a\n  {{{x}}}{{&y}}</p>', '2:3 {{{…}}} and {{&…}} need'],
    ['a tag that is joined by white-space control', '<p>a</p><{{!~}} script>', '1:9 <script> is not allowed'],
    ['a script', '<p>a</p><SCRIPT>1</SCRIPT>', '1:9 <script> is not allowed'],
    [
      'a script in a conditional comment',
      '<p>a</p><!--[if mso]><script>1</script><![endif]-->',
      '1:22 <script> is not allowed',
    ],
    [
      'an unsafe URL in a conditional comment',
      '<!--[if mso]><a href="javascript:x">y</a><![endif]-->',
      '1:14 the URL in href',
    ],
    ['an event handler after a slash', '<p/onclick="x">', '1:1 the attribute onclick is not allowed'],
    ['an unsafe URL with entities', '<a href="java&#115;cript&colon;alert(1)">a</a>', '1:1 the URL in href'],
    ['an unsafe URL in srcset', '<img srcset="a.png 1x, javascript:1 2x">', '1:1 the URL in srcset'],
    ['a style that runs code', '<p style="background:url(javascript:1)">', '1:1 the style contains'],
    ['a style that runs obfuscated code', '<p style="width: e\\78pression/**/(1)">', '1:1 the style contains'],
    ['a style sheet that imports another', '<style>@import "//x.test"</style>', '1:8 the style contains'],
    ['a redirect', '<meta http-equiv="refresh" content="0;url=x">', '1:1 <meta http-equiv>'],
    ['attributes of a closing tag', '</p a="><b title="><img>', '1:3 a closing tag may contain only its name'],
    ['a self-closing title', '<title/><a title="</title><img>">', '1:1 <title/> does not close itself'],
    ['a comment with an ambiguous end', '<!--a--!><p>-->', '1:5 browsers do not agree on the end of this comment'],
    ['nested conditional comments', '<!--[if mso]>'.repeat(4_000), '1:18 comments for Outlook'],
    ['SVG', '<svg><style><p></style></svg>', '1:1 <svg> is not allowed'],
    ['CDATA', '<p>a</p><![CDATA[x>]]>', 'CDATA is not allowed'],
    ['raw blocks', '<p>{{{{if a}}}}<p {{{{/if}}}}</p>', '1:4 raw blocks are not allowed'],
  ])('refuse %s', async (_case, body, problem) => {
    expect((await problemsOf(body)).join('\n')).toContain(problem);
  });

  it('report at most 50 problems', async () => {
    expect(await problemsOf('<base>'.repeat(5_000))).toHaveLength(50);
  });
});
