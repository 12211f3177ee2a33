/*
 * A template as text, before anything parses it: in one pass, since the parser takes its time over what is nested deeply
 * or goes on and on, and does not say what is open.
 */

/** Something wrong with a template, and where: lines from 1, columns from 1. */
export interface SyntaxProblem {
  message: string;
  line: number;
  column: number;
}

/** Characters of what it becomes with layout and partials and as HTML. */
export const MAX_COMPILED = 256 * 1024;
/** Blocks within each other. */
export const MAX_DEPTH = 20;
/** Of the syntax tree. */
export const MAX_NODES = 1_000;
const MAX_TOKENS = 8_000;
/** Of one expression. */
const MAX_WORDS = 200;
/** Helpers whose arguments are helpers. */
const MAX_CALLS = 10;
/** The parser looks again and again at blanks beside a block. */
const MAX_BLANK = 500;
const LONG_BLANK = new RegExp(`\\s{${MAX_BLANK + 1}}`);

/** What the parser would make tokens of, within an expression. What is not closed comes as its first character alone. */
const TOKEN = /"(?:\\"|[^"])*"|'(?:\\'|[^'])*'|\[(?:\\\]|[^\]])*\]|\}\}|\s+|[^\s"'[\](){}]+|[^]/y;
const COMMENT = /\{\{~?!--[^]*?--~?\}\}|\{\{~?!(?!--)[^]*?\}\}/y;
const OPENING = /\{\{~?[{&]?\s*([#/^]?)[>*]?\s*([^\s}~|]*)/y;

/** What is wrong with it that can be told from the text alone. `tokens` tells how long parsing will take. */
export function scan(source: string): { tokens: number; problem?: SyntaxProblem } {
  let tokens = 0;
  const fail = (index: number, message: string) => ({ tokens, problem: { message, ...positionOf(source, index) } });
  if (source.length > MAX_COMPILED) return fail(0, `may be ${MAX_COMPILED / 1024} K characters long at most`);
  const blank = LONG_BLANK.exec(source);
  if (blank) return fail(blank.index, `may hold ${MAX_BLANK} blanks in a row at most`);
  const open: { name: string; index: number }[] = [];
  let expressions = 0;
  let at = 0;
  for (let index = source.indexOf('{{'); index !== -1; index = source.indexOf('{{', at)) {
    at = index + 2;
    // `\{{` stands for itself, `\\{{` for a backslash before an expression.
    if (source[index - 1] === '\\' && source[index - 2] !== '\\') continue;
    if (source.startsWith('{{{{', index)) return fail(index, 'raw blocks are not allowed');
    COMMENT.lastIndex = index;
    if (COMMENT.test(source)) {
      at = COMMENT.lastIndex;
      continue;
    }
    expressions += 1;
    if (expressions > MAX_NODES) return fail(index, `may hold ${MAX_NODES} expressions at most`);
    OPENING.lastIndex = index;
    const [, kind, name = ''] = OPENING.exec(source) as RegExpExecArray;
    const size = expressionAt(source, index);
    if (typeof size === 'string') return fail(index, size);
    tokens += size.tokens;
    at = size.end;
    if (tokens > MAX_TOKENS) return fail(index, `may hold ${MAX_TOKENS} words within expressions at most`);
    if (kind === '#') open.push({ name, index });
    if (open.length > MAX_DEPTH) return fail(index, `may be ${MAX_DEPTH} blocks deep at most`);
    if (kind !== '/') continue;
    const opened = open.pop();
    if (!opened) return fail(index, `{{/${name}}} closes nothing`);
    if (opened.name !== name) {
      const { line, column } = positionOf(source, opened.index);
      return fail(index, `{{/${name}}} comes where {{#${opened.name}}} (line ${line}, column ${column}) is still open`);
    }
  }
  const left = open.at(-1);
  return left ? fail(left.index, `{{#${left.name}}} is not closed`) : { tokens };
}

/** Where the expressions and notes of a template stand that `scan` has found nothing wrong with. */
export function expressionsOf(source: string): { start: number; end: number }[] {
  const found: { start: number; end: number }[] = [];
  let at = 0;
  for (let start = source.indexOf('{{'); start !== -1; start = source.indexOf('{{', at)) {
    at = start + 2;
    if (source[start - 1] === '\\' && source[start - 2] !== '\\') continue;
    COMMENT.lastIndex = start;
    if (COMMENT.test(source)) at = COMMENT.lastIndex;
    else {
      const size = expressionAt(source, start);
      if (typeof size === 'string') continue;
      at = size.end + (source[start + 2] === '{' ? 1 : 0);
    }
    found.push({ start, end: at });
  }
  return found;
}

/** The end and the size of the expression that begins at `index`, or what is wrong with it. */
function expressionAt(source: string, index: number): { end: number; tokens: number } | string {
  let depth = 0;
  TOKEN.lastIndex = index + (source[index + 2] === '{' ? 3 : 2);
  for (let tokens = 2; tokens <= MAX_WORDS;) {
    const token = TOKEN.exec(source)?.[0];
    if (token === undefined) return 'this expression is not closed';
    if (token === '}}') return { end: TOKEN.lastIndex, tokens };
    if (token === '"' || token === "'" || token === '[' || token === '{') return 'this expression cannot be read';
    if (token === '(') depth += 1;
    if (token === ')') depth -= 1;
    if (depth > MAX_CALLS) return `may hold ${MAX_CALLS} calls within each other at most`;
    // A path has as many words as it has names.
    if (/^["'[]/.test(token)) tokens += 1;
    else if (token.trim() !== '') tokens += token.split(/[./=]/, MAX_WORDS).length;
  }
  return `an expression may hold ${MAX_WORDS} words at most`;
}

export function positionOf(source: string, index: number): { line: number; column: number } {
  const before = source.slice(0, index).split('\n');
  return { line: before.length, column: (before.at(-1) as string).length + 1 };
}
