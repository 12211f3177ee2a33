/*
 * Checks a template before it is parsed, in one pass. The parser is slow for deeply nested or very long templates, and
 * its errors do not name the open block.
 */

/** A problem of a template and its position. Lines and columns start at 1. */
export interface SyntaxProblem {
  message: string;
  line: number;
  column: number;
}

/** Maximum length of a template with layout and partials, in characters. */
export const MAX_COMPILED = 256 * 1024;
/** Maximum nesting depth of blocks. */
export const MAX_DEPTH = 20;
/** Maximum number of expressions. */
export const MAX_NODES = 1_000;
const MAX_TOKENS = 8_000;
/** Maximum number of tokens of one expression. */
const MAX_WORDS = 200;
/** Maximum nesting depth of helper calls. */
const MAX_CALLS = 10;
/** Maximum length of white space. The parser takes quadratic time for white space beside a block. */
const MAX_BLANK = 500;
const LONG_BLANK = new RegExp(`\\s{${MAX_BLANK + 1}}`);

/** Tokens within an expression. An unclosed string or bracket matches only its first character. */
const TOKEN = /"(?:\\"|[^"])*"|'(?:\\'|[^'])*'|\[(?:\\\]|[^\]])*\]|\}\}|\s+|[^\s"'[\](){}]+|[^]/y;
const COMMENT = /\{\{~?!--[^]*?--~?\}\}|\{\{~?!(?!--)[^]*?\}\}/y;
const OPENING = /\{\{~?[{&]?\s*([#/^]?)[>*]?\s*([^\s}~|]*)/y;

/** Finds the problems that need no parser. `tokens` is an estimate of the parsing time. */
export function scan(source: string): { tokens: number; problem?: SyntaxProblem } {
  let tokens = 0;
  const fail = (index: number, message: string) => ({ tokens, problem: { message, ...positionOf(source, index) } });
  if (source.length > MAX_COMPILED) return fail(0, `exceeds ${MAX_COMPILED / 1024} K characters`);
  const blank = LONG_BLANK.exec(source);
  if (blank) return fail(blank.index, `contains more than ${MAX_BLANK} consecutive white-space characters`);
  const open: { name: string; index: number }[] = [];
  let expressions = 0;
  let at = 0;
  for (let index = source.indexOf('{{'); index !== -1; index = source.indexOf('{{', at)) {
    at = index + 2;
    // `\{{` is an escaped `{{`; `\\{{` is a backslash before an expression.
    if (source[index - 1] === '\\' && source[index - 2] !== '\\') continue;
    if (source.startsWith('{{{{', index)) return fail(index, 'raw blocks are not allowed');
    COMMENT.lastIndex = index;
    if (COMMENT.test(source)) {
      at = COMMENT.lastIndex;
      continue;
    }
    expressions += 1;
    if (expressions > MAX_NODES) return fail(index, `contains more than ${MAX_NODES} expressions`);
    OPENING.lastIndex = index;
    const [, kind, name = ''] = OPENING.exec(source) as RegExpExecArray;
    const size = expressionAt(source, index);
    if (typeof size === 'string') return fail(index, size);
    tokens += size.tokens;
    at = size.end;
    if (tokens > MAX_TOKENS) return fail(index, `contains more than ${MAX_TOKENS} words within expressions`);
    if (kind === '#') open.push({ name, index });
    if (open.length > MAX_DEPTH) return fail(index, `blocks are nested more than ${MAX_DEPTH} levels deep`);
    if (kind !== '/') continue;
    const opened = open.pop();
    if (!opened) return fail(index, `{{/${name}}} has no opening {{#${name}}}`);
    if (opened.name !== name) {
      const { line, column } = positionOf(source, opened.index);
      return fail(index, `expected {{/${opened.name}}} (opened at line ${line}, column ${column}), not {{/${name}}}`);
    }
  }
  const left = open.at(-1);
  return left ? fail(left.index, `{{#${left.name}}} is not closed`) : { tokens };
}

/** Returns the ranges of all expressions and comments of a template that `scan` has accepted. */
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

/** Returns the end and the size of the expression that starts at `index`, or its problem. */
function expressionAt(source: string, index: number): { end: number; tokens: number } | string {
  let depth = 0;
  TOKEN.lastIndex = index + (source[index + 2] === '{' ? 3 : 2);
  for (let tokens = 2; tokens <= MAX_WORDS;) {
    const token = TOKEN.exec(source)?.[0];
    if (token === undefined) return 'this expression is not closed';
    if (token === '}}') return { end: TOKEN.lastIndex, tokens };
    if (token === '"' || token === "'" || token === '[' || token === '{')
      return 'a quote, bracket or brace in this expression is not closed';
    if (token === '(') depth += 1;
    if (token === ')') depth -= 1;
    if (depth > MAX_CALLS) return `helper calls are nested more than ${MAX_CALLS} levels deep`;
    // Each name of a path counts as a word.
    if (/^["'[]/.test(token)) tokens += 1;
    else if (token.trim() !== '') tokens += token.split(/[./=]/, MAX_WORDS).length;
  }
  return `this expression contains more than ${MAX_WORDS} words`;
}

export function positionOf(source: string, index: number): { line: number; column: number } {
  const before = source.slice(0, index).split('\n');
  return { line: before.length, column: (before.at(-1) as string).length + 1 };
}
