import type { FieldProblem } from '../errors.ts';
import type { Channel } from '../intake/channel.ts';
import { checkStorable } from '../intake/storable.ts';
import { buildEmail, type SharedParts } from './email.ts';
import { checkHtml } from './html-check.ts';
import { isHtmlBody } from './render.ts';
import { readTemplate } from './read.ts';
import { MAX_SOURCE, type TemplateVariable } from './syntax.ts';

/** The texts of a template, as their author wrote them. */
export interface TemplateTexts {
  channel: Channel;
  subject: string | null;
  body: string;
  text: string | null;
  defaultParams?: Record<string, unknown>;
}

export interface Lint {
  problems: FieldProblem[];
  /** What an email is sent as, in place of its body; null for anything else, and where there are problems. */
  page: string | null;
  /** What the texts need, all of them together; what one needs and another does without is needed. */
  variables: TemplateVariable[];
}

/** Channels whose message has a title. */
const TITLED: ReadonlySet<Channel> = new Set(['email', 'push', 'in_app', 'webhook']);

export interface LintOptions {
  /** Whether HTML of an event may be put into a page as it is. */
  mayUseRaw: boolean;
  /** What goes around and into the body of an email; absent: it is not made a page, as of a layout or a partial. */
  email?: { locale: string; parts: SharedParts };
}

/**
 * Reads the texts of a template for what would go wrong when it is sent, and makes the page of an email.
 */
export async function lintTemplate(texts: TemplateTexts, { mayUseRaw, email }: LintOptions): Promise<Lint> {
  const problems: FieldProblem[] = [];
  const { subject, body, text, defaultParams } = texts;
  const unstorable = checkStorable({ subject, body, text, defaultParams }, 'input');
  if (unstorable) problems.push(unstorable);
  const needed: TemplateVariable[] = [];
  const isHtml = isHtmlBody(texts.channel, texts.body);
  for (const field of ['subject', 'body', 'text'] as const) {
    const source = texts[field];
    if (source === null) continue;
    if (Buffer.byteLength(source) > MAX_SOURCE) {
      problems.push({ path: `input.${field}`, message: `may be ${MAX_SOURCE / 1024} KB long at most` });
      continue;
    }
    // One after another: each of them may take its time.
    // oxlint-disable-next-line no-await-in-loop
    const { problems: found, variables, raw, partials, program } = await readTemplate(source);
    const isPage = field === 'body' && isHtml;
    const refused = raw.map((place) => ({
      message: 'holds {{{…}}} or {{&…}}, which needs the permission notif.write.template.raw',
      ...place,
    }));
    const all = [
      ...found,
      ...(isPage && program ? checkHtml(program).problems : []),
      ...(isPage && !mayUseRaw ? refused : []),
      ...(isPage ? [] : partials.map((place) => ({ ...place, message: 'partials are for the HTML of emails' }))),
    ];
    problems.push(...all.map((problem) => ({ path: `input.${field}`, ...problem, message: placed(problem) })));
    needed.push(...variables);
  }
  if (texts.subject !== null && !TITLED.has(texts.channel)) {
    problems.push({ path: 'input.subject', message: `is not for ${texts.channel}` });
  }
  if (texts.channel === 'email' && (texts.subject ?? '').trim() === '') {
    problems.push({ path: 'input.subject', message: 'is missing' });
  }
  if (texts.text !== null && !isHtml) {
    problems.push({ path: 'input.text', message: 'is for what has HTML beside it' });
  }
  let page: string | null = null;
  if (isHtml && email && problems.length === 0) {
    const built = await readPage(texts.body, email);
    problems.push(...built.problems.map((problem) => ({ path: 'input.body', ...problem })));
    needed.push(...built.variables);
    page = built.page;
  }
  return { problems, variables: sorted(needed), page };
}

/** What texts need that were saved, all of them together. */
export async function variablesOf(sources: (string | null)[]): Promise<TemplateVariable[]> {
  const read = await Promise.all(sources.filter((source) => source !== null).map((source) => readTemplate(source)));
  return sorted(read.flatMap(({ variables }) => variables));
}

/** What one needs and another does without is needed. */
function sorted(variables: TemplateVariable[]): TemplateVariable[] {
  const needed = new Map<string, boolean>();
  for (const { path, isOptional } of variables) needed.set(path, (needed.get(path) ?? true) && isOptional);
  return [...needed]
    .map(([path, isOptional]) => ({ path, isOptional }))
    .toSorted((a, b) => a.path.localeCompare(b.path));
}

/** What the body of an email becomes is read again, since layout, partials and MJML bring their own. */
async function readPage(
  body: string,
  { locale, parts }: NonNullable<LintOptions['email']>,
): Promise<{ page: string | null; problems: Omit<FieldProblem, 'path'>[]; variables: TemplateVariable[] }> {
  const { html, problems } = await buildEmail({ ...parts, body, locale });
  if (html === null) {
    const named = problems.map(({ line, column, message }) =>
      line === undefined || column === undefined
        ? { message }
        : { line, column, message: placed({ line, column, message }) },
    );
    return { page: null, problems: named, variables: [] };
  }
  const read = await readTemplate(html);
  const found = [...read.problems, ...(read.program ? checkHtml(read.program).problems : [])];
  // Their places are in the page, which the author does not see.
  const messages = new Set(found.map(({ message }) => `its page is not right: ${message}`));
  return { page: html, problems: [...messages].map((message) => ({ message })), variables: read.variables };
}

const placed = ({ message, line, column }: { message: string; line: number; column: number }): string =>
  `${message} (line ${line}, column ${column})`;
