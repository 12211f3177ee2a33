import { compile as compileText } from 'html-to-text';
import { Parser } from 'htmlparser2';
import { LRUCache } from 'lru-cache';

import { Budget, evaluate, TemplateInvalid, TemplateVariableMissing } from './evaluate.ts';
import { checkHtml, unsafeUrlIn } from './html-check.ts';
import { createTemplateReader, type TemplateReader } from './read.ts';
import { type Analysis, analyse } from './syntax.ts';
import type { PublishedTemplate, RenderedMessage } from './template.ts';

export { TemplateInvalid, TemplateVariableMissing };

export interface RenderOptions {
  /** Default time zone of dates (IANA name). */
  timeZone?: string;
  /** Time of rendering, which `formatRelative` reads. Default: now. */
  now?: Date;
  /** URL of `@unsubscribeUrl`; absent when the recipient cannot unsubscribe. */
  unsubscribeUrl?: string | undefined;
}

/** A parsed template. It contains syntax trees, no executable code. */
export interface CompiledTemplate {
  subject: Analysis | null;
  body: Analysis;
  text: Analysis | null;
  isHtml: boolean;
  /** True when URLs contain variables, so that they have to be checked after rendering. */
  isDynamic: boolean;
}

type Texts = Pick<PublishedTemplate, 'channel' | 'subject' | 'body' | 'text'>;
type Identified = Texts & Pick<PublishedTemplate, 'templateId' | 'version'>;

/** Maximum total length of cached templates, in characters. One character takes about ten bytes of memory. */
const CACHE_SIZE = 16 * 1024 * 1024;

/**
 * Cached, because parsing takes a hundred times as long as rendering. Entries stay valid, because versions never
 * change.
 */
const compiled = new LRUCache<string, CompiledTemplate>({ max: 5_000, maxSize: CACHE_SIZE });

/** Reader for delivery. It has a separate thread, so that authors of templates cannot delay deliveries. */
const readForDelivery = createTemplateReader();

const keyOf = ({ templateId, version }: Identified): string => `${templateId}:${version}`;

/** Parses and caches templates for `renderTemplate` without blocking the event loop. */
export async function prepareTemplates(templates: Iterable<Identified>): Promise<void> {
  for (const template of templates) {
    // oxlint-disable-next-line no-await-in-loop -- one after another, so that many don't add up
    if (!compiled.has(keyOf(template))) keep(template, await compileTemplate(template, readForDelivery));
  }
}

/** Parses the texts of a template without caching. */
export async function compileTemplate(texts: Texts, read: TemplateReader): Promise<CompiledTemplate> {
  const subject = texts.subject === null ? null : await read(texts.subject);
  const body = await read(texts.body);
  return assemble(texts, { subject, body, text: texts.text === null ? null : await read(texts.text) });
}

function assemble(texts: Texts, parts: Pick<CompiledTemplate, 'subject' | 'body' | 'text'>): CompiledTemplate {
  const isHtml = isHtmlBody(texts.channel, texts.body);
  const { program, raw } = parts.body;
  return {
    ...parts,
    isHtml,
    isDynamic: isHtml && program !== null && (raw.length > 0 || checkHtml(program).isDynamic),
  };
}

function keep(template: Identified, fresh: CompiledTemplate): CompiledTemplate {
  const { subject, body, text } = template;
  compiled.set(keyOf(template), fresh, { size: 1 + (subject?.length ?? 0) + body.length + (text?.length ?? 0) });
  return fresh;
}

/** Returns the cached template. One that has left the cache since `prepareTemplates` is parsed synchronously. */
function compiledOf(template: PublishedTemplate): CompiledTemplate {
  const known = compiled.get(keyOf(template));
  if (known) return known;
  const { subject, body, text } = template;
  const parts = {
    subject: subject === null ? null : analyse(subject),
    body: analyse(body),
    text: text === null ? null : analyse(text),
  };
  return keep(template, assemble(template, parts));
}

/**
 * Renders a template with an event's params, which override the template's defaults. Deterministic: the same version,
 * params and options always give the same text. Limits keep it to a few milliseconds for every template and params.
 *
 * @param compiledTemplate the parsed template. Default: the cached one.
 * @throws {TemplateVariableMissing} with the name of the variable
 * @throws {TemplateInvalid} when the template is invalid, or is too long or unsafe with these params
 */
export function renderTemplate(
  template: PublishedTemplate,
  params: Record<string, unknown>,
  { timeZone = 'UTC', now = new Date(), unsubscribeUrl }: RenderOptions = {},
  { subject, body, text, isHtml, isDynamic }: CompiledTemplate = compiledOf(template),
): RenderedMessage {
  const data = { ...template.defaultParams, ...params };
  const budget = new Budget();
  const run = ({ program, partials, problems: [problem] }: Analysis, isEscaped = false): string => {
    if (problem) throw new TemplateInvalid(`${problem.message} (line ${problem.line}, column ${problem.column})`);
    if (!program || partials.length > 0) throw new TemplateInvalid('its partials were not expanded');
    const { locale } = template;
    return evaluate(program, {
      data,
      locale,
      timeZone,
      now,
      unsubscribeUrl: unsubscribeUrl ?? null,
      isHtml: isEscaped,
      budget,
    });
  };
  const renderedBody = run(body, isHtml);
  const unsafe = isDynamic ? unsafeUrlIn(renderedBody) : undefined;
  if (unsafe !== undefined) {
    throw new TemplateInvalid(`the URL in ${unsafe} must start with https:, http:, mailto: or tel:`);
  }
  return {
    // A line break in a subject would start a new header.
    subject: subject === null ? null : run(subject).replaceAll(/\s*[\r\n]+\s*/g, ' '),
    html: isHtml ? renderedBody : null,
    text: text ? run(text) : isHtml ? textOf(renderedBody) : renderedBody,
  };
}

/** Returns true for an email body that contains HTML tags. */
export const isHtmlBody = (channel: string, body: string): boolean => channel === 'email' && /<[a-z!/]/i.test(body);

/** Maximum length of a page that `html-to-text` converts, in characters. It takes a few milliseconds. */
const MAX_CONVERTED = 64 * 1024;

/** Compiled once, because reading the options takes longer than converting a mail. */
const convert = compileText({
  wordwrap: 78,
  // Text that is nested deeper is dropped, so that conversion stays fast.
  limits: { maxDepth: 100, maxChildNodes: 10_000 },
  formatters: {
    cell: (element, walk, builder) => {
      walk(element.children, builder);
      builder.addInline(' ');
    },
  },
  selectors: [
    { selector: 'tr', format: 'block', options: { leadingLineBreaks: 1, trailingLineBreaks: 1 } },
    { selector: 'td', format: 'cell' },
    { selector: 'th', format: 'cell' },
    { selector: 'img', format: 'skip' },
    { selector: 'a', options: { hideLinkHrefIfSameAsText: true } },
  ],
});

const textOf = (html: string): string => (html.length > MAX_CONVERTED ? bareTextOf(html) : convert(html));

const INLINE = new Set(['a', 'b', 'i', 'em', 'strong', 'span', 'font', 'u', 's', 'small', 'big', 'sub', 'sup', 'code']);

/** Returns the text of a long page, without links. */
function bareTextOf(html: string): string {
  let text = '';
  let hidden = '';
  const parser = new Parser({
    onopentagname: (name) => {
      if (hidden === '' && (name === 'style' || name === 'title')) hidden = name;
      if (!INLINE.has(name)) text += name === 'td' || name === 'th' ? ' ' : '\n';
    },
    onclosetag: (name) => {
      if (hidden === name) hidden = '';
    },
    ontext: (piece) => {
      if (hidden === '') text += piece.replaceAll(/\s+/g, ' ');
    },
  });
  parser.end(html);
  return text.replaceAll(/ *\n\s*/g, '\n').trim();
}
