import { Parser } from 'htmlparser2';

import type { SyntaxProblem } from './syntax.ts';

const URL_ATTRIBUTES = new Set(['href', 'src', 'action', 'formaction', 'background', 'cite', 'poster', 'xlink:href']);
const FORBIDDEN_TAGS = new Set(['script', 'iframe', 'object', 'embed', 'applet', 'form', 'base', 'meta', 'link']);
const SAFE_SCHEME = /^(https?|mailto|tel|cid):/i;
const ANY_SCHEME = /^[a-z][a-z0-9+.-]*:/i;
/** Browsers pass over these within a scheme. */
// oxlint-disable-next-line no-control-regex -- control characters are what is passed over
const IGNORED = /[\u0000-\u0020]/g;

/** Only of web pages, mail and telephone; and what names no scheme. */
export function isSafeUrl(url: string): boolean {
  const bare = url.replaceAll(IGNORED, '');
  return SAFE_SCHEME.test(bare) || !ANY_SCHEME.test(bare);
}

/** What stands in place of an expression, as long as that was, so that what follows stays where it is. */
const standIn = (expression: string): string => expression.replaceAll(/[^\n]/g, 'x');

/** Where an expression stands within a tag without quotes around it: what it becomes could begin another attribute. */
const UNQUOTED = /<[a-z][^<>]*?\s[\w:-]+=(?!["'])[^\s"'<>]*\{\{/gi;

/** What is wrong with the HTML of a template, expressions left aside, and whether URLs come from an event. */
export function checkHtml(source: string): { problems: SyntaxProblem[]; hasDynamicUrls: boolean } {
  const problems: SyntaxProblem[] = [];
  let hasDynamicUrls = false;
  const plain = source.replaceAll(/\{\{\{?[\s\S]*?\}?\}\}/g, standIn);
  const starts = lineStarts(source);
  const add = (index: number, message: string): void => {
    const line = starts.findLastIndex((start) => start <= index);
    problems.push({ message, line: line + 1, column: index - (starts[line] ?? 0) + 1 });
  };
  for (const { index, 0: text } of source.matchAll(UNQUOTED)) {
    add(index + text.length - 2, 'an expression in an attribute needs quotes around it');
  }
  const parser = new Parser(
    {
      onopentag: (tag, attributes) => {
        if (FORBIDDEN_TAGS.has(tag)) add(parser.startIndex, `<${tag}> is not allowed`);
        for (const [name, value] of Object.entries(attributes)) {
          const at = parser.startIndex;
          if (name.startsWith('on')) add(at, `the attribute ${name} is not allowed`);
          if (!URL_ATTRIBUTES.has(name)) continue;
          const written = originalOf(source, plain, at, value);
          if (written.trimStart().startsWith('{{')) hasDynamicUrls = true;
          else if (!isSafeUrl(value)) add(at, `the address in ${name} must be https:, http:, mailto: or tel:`);
        }
      },
    },
    { lowerCaseAttributeNames: true, lowerCaseTags: true },
  );
  parser.end(plain);
  return { problems, hasDynamicUrls };
}

/** Where the value of an attribute came from, expressions and all. */
function originalOf(source: string, plain: string, from: number, value: string): string {
  const index = plain.indexOf(value, from);
  return index === -1 ? value : source.slice(index, index + value.length);
}

function lineStarts(text: string): number[] {
  const starts = [0];
  for (const { index } of text.matchAll(/\n/g)) starts.push(index + 1);
  return starts;
}

/** @returns the first address of a page that leads where it should not. */
export function unsafeUrlIn(html: string): string | undefined {
  let found: string | undefined;
  const parser = new Parser({
    onattribute: (name, value) => {
      if (URL_ATTRIBUTES.has(name) && !isSafeUrl(value)) found ??= name;
    },
  });
  parser.end(html);
  return found;
}
