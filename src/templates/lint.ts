import type { FieldProblem } from '../errors.ts';
import type { Channel } from '../intake/channel.ts';
import { checkStorable } from '../intake/storable.ts';
import { buildEmail, type SharedParts } from './email.ts';
import { checkHtml } from './html-check.ts';
import { isHtmlBody } from './render.ts';
import { readTemplate } from './read.ts';
import { MAX_SOURCE, type TemplateVariable } from './syntax.ts';

/** The texts of a template as entered by the author. */
export interface TemplateTexts {
  channel: Channel;
  subject: string | null;
  body: string;
  text: string | null;
  defaultParams?: Record<string, unknown>;
}

export interface Lint {
  problems: FieldProblem[];
  /** Page that is sent instead of an email's body; null for other channels and when there are problems. */
  page: string | null;
  /** True when the body or the page contains `@unsubscribeUrl`. */
  usesUnsubscribeUrl: boolean;
  /** Variables of all texts. A variable is optional only when it is optional in every text. */
  variables: TemplateVariable[];
}

/** Channels whose messages have a subject or title. */
const TITLED: ReadonlySet<Channel> = new Set(['email', 'push', 'in_app', 'webhook']);

export interface LintOptions {
  /** True when the author may insert HTML from events without escaping. */
  mayUseRaw: boolean;
  /** Layout and partials of an email. Absent for layouts and partials themselves, which are not built into a page. */
  email?: { locale: string; parts: SharedParts };
}

/** Checks the texts of a template before it is saved, and builds the page of an email. */
export async function lintTemplate(texts: TemplateTexts, { mayUseRaw, email }: LintOptions): Promise<Lint> {
  const problems: FieldProblem[] = [];
  const { subject, body, text, defaultParams } = texts;
  const unstorable = checkStorable({ subject, body, text, defaultParams }, 'input');
  if (unstorable) problems.push(unstorable);
  const needed: TemplateVariable[] = [];
  let usesUnsubscribeUrl = false;
  const isHtml = isHtmlBody(texts.channel, texts.body);
  for (const field of ['subject', 'body', 'text'] as const) {
    const source = texts[field];
    if (source === null) continue;
    if (Buffer.byteLength(source) > MAX_SOURCE) {
      problems.push({ path: `input.${field}`, message: `exceeds ${MAX_SOURCE / 1024} KB` });
      continue;
    }
    // oxlint-disable-next-line no-await-in-loop -- one after another, because each text may take up to 0.1 s
    const { problems: found, variables, raw, partials, program, ...uses } = await readTemplate(source);
    if (uses.usesUnsubscribeUrl && texts.channel !== 'email') {
      problems.push({ path: `input.${field}`, message: '@unsubscribeUrl is available only in emails' });
    }
    if (field === 'body') usesUnsubscribeUrl = uses.usesUnsubscribeUrl;
    const isPage = field === 'body' && isHtml;
    const refused = raw.map((place) => ({
      message: '{{{…}}} and {{&…}} need the permission notif.write.template.raw',
      ...place,
    }));
    const all = [
      ...found,
      ...(isPage && program ? checkHtml(program).problems : []),
      ...(isPage && !mayUseRaw ? refused : []),
      ...(isPage
        ? []
        : partials.map((place) => ({ ...place, message: 'partials are allowed only in the HTML body of an email' }))),
    ];
    problems.push(...all.map((problem) => ({ path: `input.${field}`, ...problem, message: placed(problem) })));
    needed.push(...variables);
  }
  if (texts.subject !== null && !TITLED.has(texts.channel)) {
    problems.push({ path: 'input.subject', message: `is not allowed for the channel ${texts.channel}` });
  }
  if (texts.channel === 'email' && (texts.subject ?? '').trim() === '') {
    problems.push({ path: 'input.subject', message: 'is missing' });
  }
  if (texts.text !== null && !isHtml) {
    problems.push({ path: 'input.text', message: 'is allowed only when the body is HTML' });
  }
  let page: string | null = null;
  if (isHtml && email && problems.length === 0) {
    const built = await readPage(texts.body, email);
    problems.push(...built.problems.map((problem) => ({ path: 'input.body', ...problem })));
    needed.push(...built.variables);
    page = built.page;
    usesUnsubscribeUrl ||= built.usesUnsubscribeUrl;
  }
  return { problems, variables: sorted(needed), page, usesUnsubscribeUrl };
}

/** Returns true when the saved body or page of an email contains `@unsubscribeUrl`. */
export const usesUnsubscribeUrl = async (source: string): Promise<boolean> =>
  (await readTemplate(source)).usesUnsubscribeUrl;

/** Returns the variables of saved texts, as in {@link Lint}. */
export async function variablesOf(sources: (string | null)[]): Promise<TemplateVariable[]> {
  const read = await Promise.all(sources.filter((source) => source !== null).map((source) => readTemplate(source)));
  return sorted(read.flatMap(({ variables }) => variables));
}

/** Removes duplicates. A variable stays optional only when all its uses are optional. */
function sorted(variables: TemplateVariable[]): TemplateVariable[] {
  const needed = new Map<string, boolean>();
  for (const { path, isOptional } of variables) needed.set(path, (needed.get(path) ?? true) && isOptional);
  return [...needed]
    .map(([path, isOptional]) => ({ path, isOptional }))
    .toSorted((a, b) => a.path.localeCompare(b.path));
}

/** Builds the page of an email and checks it, because layout, partials and MJML add their own HTML and expressions. */
async function readPage(
  body: string,
  { locale, parts }: NonNullable<LintOptions['email']>,
): Promise<Omit<Lint, 'problems'> & { problems: Omit<FieldProblem, 'path'>[] }> {
  const { html, problems } = await buildEmail({ ...parts, body, locale });
  if (html === null) {
    const named = problems.map(({ line, column, message }) =>
      line === undefined || column === undefined
        ? { message }
        : { line, column, message: placed({ line, column, message }) },
    );
    return { page: null, problems: named, variables: [], usesUnsubscribeUrl: false };
  }
  const read = await readTemplate(html);
  const found = [...read.problems, ...(read.program ? checkHtml(read.program).problems : [])];
  // Without positions: they refer to the built page, which the author does not see.
  const messages = new Set(found.map(({ message }) => `with layout and partials: ${message}`));
  const { variables, usesUnsubscribeUrl } = read;
  return { page: html, problems: [...messages].map((message) => ({ message })), variables, usesUnsubscribeUrl };
}

const placed = ({ message, line, column }: { message: string; line: number; column: number }): string =>
  `${message} (line ${line}, column ${column})`;
