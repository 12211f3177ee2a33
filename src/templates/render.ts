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
  /** IANA: of dates, where the template does not say another. */
  timeZone?: string;
}

/** A template that was read. It holds nothing that can be run. */
export interface CompiledTemplate {
  subject: Analysis | null;
  body: Analysis;
  text: Analysis | null;
  isHtml: boolean;
  /** Addresses come from events, and are looked at when they are there. */
  isDynamic: boolean;
}

type Texts = Pick<PublishedTemplate, 'channel' | 'subject' | 'body' | 'text'>;
type Identified = Texts & Pick<PublishedTemplate, 'templateId' | 'version'>;

/** Characters of source of what is cached; in memory each is some ten bytes. */
const CACHE_SIZE = 16 * 1024 * 1024;

/** Reading takes a hundred times as long as rendering. A version never changes, so neither does what is read from it. */
const compiled = new LRUCache<string, CompiledTemplate>({ max: 5_000, maxSize: CACHE_SIZE });

/** What is to be sent is read by a thread of its own, whatever those do who write templates. */
const readForDelivery = createTemplateReader();

const keyOf = ({ templateId, version }: Identified): string => `${templateId}:${version}`;

/** Reads what is not cached, without keeping anything else waiting, so that `renderTemplate` finds it. */
export async function prepareTemplates(templates: Iterable<Identified>): Promise<void> {
  for (const template of templates) {
    // oxlint-disable-next-line no-await-in-loop -- one after another, so that many don't add up
    if (!compiled.has(keyOf(template))) keep(template, await compileTemplate(template, readForDelivery));
  }
}

/** Reads the texts of a template, and keeps nothing. */
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

/** Those that were not prepared, which are few, are read here and now. */
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
 * Renders a template with an event's params over the template's own defaults. Pure: the same version and params give
 * the same bytes. It ends in some milliseconds, whatever the template and the params are.
 *
 * @param compiledTemplate what was read from it; absent: what is cached, or read now.
 * @throws {TemplateVariableMissing} naming the variable
 * @throws {TemplateInvalid} when the template cannot be read, or becomes too long or unsafe with these params
 */
export function renderTemplate(
  template: PublishedTemplate,
  params: Record<string, unknown>,
  { timeZone = 'UTC' }: RenderOptions = {},
  { subject, body, text, isHtml, isDynamic }: CompiledTemplate = compiledOf(template),
): RenderedMessage {
  const data = { ...template.defaultParams, ...params };
  const budget = new Budget();
  const run = ({ program, partials, problems: [problem] }: Analysis, isEscaped = false): string => {
    if (problem) throw new TemplateInvalid(`${problem.message} (line ${problem.line}, column ${problem.column})`);
    if (!program || partials.length > 0) throw new TemplateInvalid('its partials were not put in');
    return evaluate(program, { data, locale: template.locale, timeZone, isHtml: isEscaped, budget });
  };
  const renderedBody = run(body, isHtml);
  const unsafe = isDynamic ? unsafeUrlIn(renderedBody) : undefined;
  if (unsafe !== undefined) {
    throw new TemplateInvalid(`an address in ${unsafe} is neither https:, http:, mailto: nor tel:`);
  }
  return {
    // A line break in a subject would start a new header.
    subject: subject === null ? null : run(subject).replaceAll(/\s*[\r\n]+\s*/g, ' '),
    html: isHtml ? renderedBody : null,
    text: text ? run(text) : isHtml ? textOf(renderedBody) : renderedBody,
  };
}

/** Only email shows HTML, and only where it is written as such. */
export const isHtmlBody = (channel: string, body: string): boolean => channel === 'email' && /<[a-z!/]/i.test(body);

/** Characters of a page that are converted with care, in some milliseconds. */
const MAX_CONVERTED = 64 * 1024;

/** Its options are read once: reading them takes longer than converting a mail. */
const convert = compileText({
  wordwrap: 78,
  // Of what is nested on and on, the text is lost, and not our time.
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

/** The text of a long page, without its links. */
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
