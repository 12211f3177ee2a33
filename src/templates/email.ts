import { Parser } from 'htmlparser2';

import { AppError } from '../errors.ts';
import { isRightToLeft } from './locale.ts';
import { expressionsOf, MAX_COMPILED, positionOf, type SyntaxProblem } from './scan.ts';
import { createThread } from './thread.ts';

/** Layout and partials of a tenant's emails, in the language that best matches a template. */
export interface SharedParts {
  /**
   * Contains `{{> body}}`, which is replaced by each body that is not a whole page. Null when the tenant has no layout.
   */
  layout: string | null;
  /** Keys are the names in `{{> name}}`. */
  partials: Readonly<Record<string, string>>;
}

export interface EmailSource extends SharedParts {
  body: string;
  /** BCP 47. */
  locale: string;
}

export interface BuiltEmail {
  /** Template of the whole page; null when there are problems. */
  html: string | null;
  /** A problem in a layout or partial has no position. */
  problems: (Pick<SyntaxProblem, 'message'> & Partial<SyntaxProblem>)[];
}

/** Maximum nesting depth of partials. */
const MAX_ROUNDS = 5;
/** Maximum number of emails that are being built or wait for it. */
const MAX_WAITING = 20;

const PARTIAL = /\{\{~?>\s*([A-Za-z][\w-]*)\s*~?\}\}/g;
const isPage = (body: string): boolean => /^\s*<(!doctype|html|mjml)\b/i.test(body);
export const isMjml = (body: string): boolean => /^\s*<mjml\b/i.test(body);

let waiting = 0;
const inThread = createThread<EmailSource, BuiltEmail>('email-worker');

/**
 * Builds the page of an email in a worker thread: inserts the body into the layout, expands partials, compiles MJML to
 * HTML, inlines style sheets and sets the language and direction.
 *
 * @throws `unavailable` when too many emails are waiting.
 */
export async function buildEmail(source: EmailSource): Promise<BuiltEmail> {
  if (waiting >= MAX_WAITING) throw new AppError('unavailable', 'Too many emails are being built. Try again later.');
  waiting += 1;
  try {
    return await inThread(source);
  } finally {
    waiting -= 1;
  }
}

/** Compiles MJML to HTML. */
export type MjmlCompiler = (mjml: string) => Promise<{ html: string; errors: { line: number; message: string }[] }>;
/** Moves the rules of style sheets into style attributes. */
export type StyleInliner = (html: string) => Promise<string>;

/** The part of `buildEmail` that runs in the worker thread. */
export async function buildPage(
  { body, locale, layout, partials }: EmailSource,
  { compileMjml, inlineStyles }: { compileMjml: MjmlCompiler; inlineStyles: StyleInliner },
): Promise<BuiltEmail> {
  const joined = join(body, layout, partials);
  if (typeof joined !== 'string') return { html: null, problems: [joined] };
  const isAsWritten = joined === body;
  const fail = (problems: SyntaxProblem[]): BuiltEmail => ({
    html: null,
    problems: isAsWritten ? problems : problems.map(({ message }) => ({ message })),
  });

  const { text, restore, lost } = setAside(joined);
  let page: string;
  if (isMjml(joined)) {
    const outline = checkOutline(text);
    if (outline.length > 0) return fail(outline);
    const { html, errors } = await compileMjml(withLanguage(text, 'mjml', locale));
    if (errors.length > 0) return fail(errors.map(({ line, message }) => ({ line, column: 1, message })));
    page = html;
  } else {
    const whole = /<html\b/i.test(text) ? withLanguage(text, 'html', locale) : wrap(text, locale);
    page = /<style\b/i.test(whole) ? await inlineStyles(whole) : whole;
  }
  const missing = lost(page);
  if (missing !== undefined) {
    return fail([{ message: 'MJML removes this expression; move it into <mj-text>', ...positionOf(joined, missing) }]);
  }
  return { html: restore(page), problems: [] };
}

/** Inserts the body into the layout and expands all partials. Returns a problem when that fails. */
function join(
  body: string,
  layout: string | null,
  partials: Readonly<Record<string, string>>,
): string | BuiltEmail['problems'][number] {
  let joined =
    layout === null || isPage(body) ? body : layout.replaceAll(PARTIAL, (all, name) => (name === 'body' ? body : all));
  for (let round = 0; round <= MAX_ROUNDS; round += 1) {
    let size = joined.length;
    const found = [...joined.matchAll(PARTIAL)];
    if (found.length === 0) return joined;
    for (const { 1: name = '', index } of found) {
      const place = joined === body ? positionOf(body, index) : {};
      if (!Object.hasOwn(partials, name)) return { message: `partial "${name}" does not exist`, ...place };
      size += (partials[name] as string).length;
      if (size > MAX_COMPILED)
        return { message: `exceeds ${MAX_COMPILED / 1024} K characters with its partials`, ...place };
    }
    joined = joined.replaceAll(PARTIAL, (_all, name: string) => partials[name] as string);
  }
  return { message: `partials are nested more than ${MAX_ROUNDS} levels deep` };
}

/** Replaces each expression by a plain word, which parsers of HTML and CSS keep unchanged. */
function setAside(source: string) {
  let word = 'expression';
  while (source.includes(word)) word += 'q';
  const expressions = expressionsOf(source);
  let text = '';
  let end = 0;
  for (const [number, expression] of expressions.entries()) {
    text += `${source.slice(end, expression.start)}${word}${number}z`;
    end = expression.end;
  }
  text += source.slice(end);
  const words = new RegExp(`${word}(\\d+)z`, 'g');
  return {
    text,
    restore: (page: string): string =>
      page.replaceAll(words, (_all, number: string) => {
        const { start, end: stop } = expressions[Number(number)] as { start: number; end: number };
        return source.slice(start, stop);
      }),
    /** Returns the index of the first expression that is missing in the page. Comments may be missing. */
    lost: (page: string): number | undefined => {
      const kept = new Set([...page.matchAll(words)].map(([, number]) => Number(number)));
      return expressions.find(
        ({ start }, number) => !kept.has(number) && !/^\{\{~?!/.test(source.slice(start, start + 4)),
      )?.start;
    },
  };
}

/** MJML elements that may contain text. MJML silently drops text in others. */
const WITH_TEXT = new Set([
  'mj-text', 'mj-button', 'mj-raw', 'mj-title', 'mj-preview', 'mj-style', 'mj-table', 'mj-accordion-title',
  'mj-accordion-text', 'mj-navbar-link', 'mj-social-element',
]); // oxfmt-ignore

/** Finds errors that MJML ignores: elements that are not closed, and text that is not shown. */
function checkOutline(mjml: string): SyntaxProblem[] {
  const problems: SyntaxProblem[] = [];
  const open: { name: string; index: number }[] = [];
  const parser = new Parser(
    {
      onopentagname: (name) => void open.push({ name, index: parser.startIndex }),
      onclosetag: (name, isImplied) => {
        const opened = open.pop();
        // `<x/>` closes itself.
        if (
          !isImplied ||
          !opened ||
          !name.startsWith('mj') ||
          mjml.slice(parser.startIndex, parser.endIndex + 1).endsWith('/>')
        )
          return;
        problems.push({ message: `<${name}> is not closed`, ...positionOf(mjml, opened.index) });
      },
      ontext: (text) => {
        const inside = open.at(-1)?.name;
        if (text.trim() === '' || open.some(({ name }) => WITH_TEXT.has(name)) || !inside?.startsWith('mj')) return;
        const message = `text in <${inside}> is not shown: move it into <mj-text>, or {{#…}} blocks into <mj-raw>`;
        problems.push({ message, ...positionOf(mjml, parser.startIndex) });
      },
    },
    { xmlMode: true },
  );
  parser.end(mjml);
  return problems.slice(0, 20);
}

/** Language and, for scripts that are written from right to left, direction of a page. */
function attributes(locale: string, given = ''): string {
  const lang = /\blang\s*=/i.test(given) ? '' : ` lang="${locale.replaceAll(/[^A-Za-z0-9-]/g, '')}"`;
  return isRightToLeft(locale) && !/\bdir\s*=/i.test(given) ? `${lang} dir="rtl"` : lang;
}

const withLanguage = (page: string, tag: string, locale: string): string =>
  page.replace(
    new RegExp(`<${tag}\\b([^>]*)>`, 'i'),
    (_all, given: string) => `<${tag}${attributes(locale, given)}${given}>`,
  );

const wrap = (body: string, locale: string): string =>
  `<!doctype html><html${attributes(locale)}><head><meta charset="utf-8">` +
  `<meta name="viewport" content="width=device-width, initial-scale=1"></head><body>${body}</body></html>`;
