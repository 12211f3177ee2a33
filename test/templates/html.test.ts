import { describe, expect, it } from 'vitest';

import { lintTemplate } from '../../src/templates/lint.ts';

/** What is said of the body of a mail: `line:column message`. */
const problemsOf = async (body: string, mayUseRaw = false): Promise<string[]> => {
  const { problems } = await lintTemplate({ channel: 'email', subject: 's', body, text: null }, { mayUseRaw });
  return problems.map(({ line, column, message }) => `${line}:${column} ${message}`);
};

describe('the HTML of a template', () => {
  it.each([
    ['text and quoted attributes', '<p title="{{a}}" class=\'x {{b}}\'>{{c}}</p>'],
    [
      'whole blocks in either',
      '<a href="https://x.test/{{#if a}}{{b}}{{else}}c{{/if}}">{{#each d}}<b>{{this}}</b>{{/each}}</a>',
    ],
    [
      'addresses of mail, telephone, and of the page itself',
      '<a href="mailto:a@b.test"></a><a href="tel:1"></a><a href="#x"></a>',
    ],
    [
      'what only Outlook reads',
      '<!--[if mso]><table width="600"><tr><td><![endif]--><p>x</p><!--[if mso]></td></tr></table><![endif]-->',
    ],
    [
      'styles',
      '<style>p { color: red; scroll-behavior: smooth }</style><p style="background: url(https://x.test/a.png)">x</p>',
    ],
    ['a page', '<!doctype html><html><head><meta charset="utf-8"><title>{{a}}</title></head><body>{{b}}</body></html>'],
    ['comments of its own', '<!-- x --><p>{{! a note <p }}{{!-- {{b}} --}}x</p>'],
    ['what looks like an expression', '<p>\\{{a}}</p>'],
  ])('may hold %s', async (_what, body) => {
    expect(await problemsOf(body)).toEqual([]);
  });

  const PLACE = 'an expression may stand in text and in quoted attributes, and not in tags or comments';
  const BLOCK = 'a block has to begin, turn and end in the same text or the same attribute';
  const QUOTES = 'an expression in an attribute needs quotes around it';
  const LESS = 'a "<" before an expression has to be written as &lt;';
  it.each([
    ['an expression instead of an attribute', '<p>\n<p {{x}}>', `2:4 ${PLACE}`],
    ['an expression in the name of one', '<p da{{x}}="1">', `1:6 ${PLACE}`],
    ['an expression in a tag', '<p>a</p><h{{x}}>b', '1:11 an expression may not stand in a tag'],
    ['an expression in a closing tag', '<p></p {{x}}>', '1:6 a closing tag holds'],
    ['an expression in a comment', '<p>a</p><!-- {{x}} -->', `1:14 ${PLACE}`],
    [
      'an expression in a style sheet',
      '<style>p { color: {{x}} }</style>',
      '1:19 an expression may not stand in <style>',
    ],
    ['no quotes', '<a href={{x}}>a</a>', `1:9 ${QUOTES}`],
    ['no quotes and blanks', '<a href =\n  {{x}}>a</a>', `2:3 ${QUOTES}`],
    ['no quotes after a quoted ">"', '<p class="a>b" title={{x}}>a</p>', `1:22 ${QUOTES}`],
    ['no quotes around a part', '<a href=/x/{{x}}>a</a>', `1:12 ${QUOTES}`],
    ['a block that opens an attribute', '<a {{#if q}}title="{{/if}}href="{{u}}" b="">', `1:4 ${PLACE}`],
    ['a block that closes one', '<a title="{{#if q}}x" {{/if}}href="{{u}}">', `1:11 ${PLACE}`],
    ['a block across attributes', '<a title="{{#if q}}x" href="y{{/if}}">', `1:11 ${BLOCK}`],
    ['a block across a title', '<title>{{#if q}}</title>{{/if}}', `1:8 ${BLOCK}`],
    ['a block that leaves what Outlook reads', '<!--[if mso]>{{#if q}}<![endif]--><p>x</p>{{/if}}', `1:14 ${BLOCK}`],
    ['a "<" before a block', '<p>x</p><{{#if q}}{{/if}}img src=x>', `1:10 ${LESS}`],
    ['a "</" before an expression', '<title></{{x}}title><p>', `1:10 ${LESS}`],
    ['raw HTML', '<p>a\n  {{{x}}}{{&y}}</p>', '2:3 holds {{{…}}} or {{&…}}'],
    ['a tag that a comment with blanks joins', '<p>a</p><{{!~}} script>', '1:9 <script> is not allowed'],
    ['a script', '<p>a</p><SCRIPT>1</SCRIPT>', '1:9 <script> is not allowed'],
    [
      'a script in what Outlook reads',
      '<p>a</p><!--[if mso]><script>1</script><![endif]-->',
      '1:22 <script> is not allowed',
    ],
    [
      'an address in what Outlook reads',
      '<!--[if mso]><a href="javascript:x">y</a><![endif]-->',
      '1:14 the address in href',
    ],
    ['an event handler after a slash', '<p/onclick="x">', '1:1 the attribute onclick is not allowed'],
    ['an address in other letters', '<a href="java&#115;cript&colon;alert(1)">a</a>', '1:1 the address in href'],
    ['an address among several', '<img srcset="a.png 1x, javascript:1 2x">', '1:1 the address in srcset'],
    ['a style that runs', '<p style="background:url(javascript:1)">', '1:1 the style holds'],
    ['a style that runs, hidden', '<p style="width: e\\78pression/**/(1)">', '1:1 the style holds'],
    ['a style sheet that loads another', '<style>@import "//x.test"</style>', '1:8 the style holds'],
    ['a page that goes elsewhere', '<meta http-equiv="refresh" content="0;url=x">', '1:1 <meta http-equiv>'],
    ['attributes of a closing tag', '</p a="><b title="><img>', '1:3 a closing tag holds'],
    ['a title that seems to close itself', '<title/><a title="</title><img>">', '1:1 <title/> does not close itself'],
    ['a comment that may have ended', '<!--a--!><p>-->', '1:5 a comment ends where browsers do not agree'],
    ['comments for Outlook within each other', '<!--[if mso]>'.repeat(4_000), '1:18 comments for Outlook'],
    ['drawings', '<svg><style><p></style></svg>', '1:1 <svg> is not allowed'],
    ['CDATA', '<p>a</p><![CDATA[x>]]>', 'CDATA is not allowed'],
    ['raw blocks', '<p>{{{{if a}}}}<p {{{{/if}}}}</p>', '1:4 raw blocks are not allowed'],
  ])('may not hold %s', async (_what, body, problem) => {
    expect((await problemsOf(body)).join('\n')).toContain(problem);
  });

  it('that is wrong all over is told of in a bounded answer', async () => {
    expect(await problemsOf('<base>'.repeat(5_000))).toHaveLength(50);
  });
});
