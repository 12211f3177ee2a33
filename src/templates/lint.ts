import type { FieldProblem } from '../errors.ts';
import type { Channel } from '../intake/channel.ts';
import { checkHtml } from './html-check.ts';
import { isHtmlBody } from './render.ts';
import { readTemplate } from './read.ts';
import type { TemplateVariable } from './syntax.ts';

/** The texts of a template, as their author wrote them. */
export interface TemplateTexts {
  channel: Channel;
  subject: string | null;
  body: string;
  text: string | null;
}

export interface Lint {
  problems: FieldProblem[];
  /** What the texts need, all of them together; what one needs and another does without is needed. */
  variables: TemplateVariable[];
}

/** Channels whose message has a title. */
const TITLED: ReadonlySet<Channel> = new Set(['email', 'push', 'in_app', 'webhook']);

/**
 * Reads the texts of a template for what would go wrong when it is sent.
 *
 * @param mayUseRaw whether HTML of an event may be put into a page as it is.
 */
export async function lintTemplate(texts: TemplateTexts, { mayUseRaw }: { mayUseRaw: boolean }): Promise<Lint> {
  const problems: FieldProblem[] = [];
  const needed = new Map<string, boolean>();
  const isHtml = isHtmlBody(texts.channel, texts.body);
  for (const field of ['subject', 'body', 'text'] as const) {
    const source = texts[field];
    if (source === null) continue;
    // One after another: each of them may take its time.
    // oxlint-disable-next-line no-await-in-loop
    const { problems: found, variables, raw, program } = await readTemplate(source);
    const isPage = field === 'body' && isHtml;
    const refused = raw.map((place) => ({
      message: 'holds {{{…}}} or {{&…}}, which needs the permission notif.write.template.raw',
      ...place,
    }));
    const all = [
      ...found,
      ...(isPage && program ? checkHtml(program).problems : []),
      ...(isPage && !mayUseRaw ? refused : []),
    ];
    problems.push(...all.map((problem) => ({ path: `input.${field}`, ...problem, message: placed(problem) })));
    for (const { path, isOptional } of variables) needed.set(path, (needed.get(path) ?? true) && isOptional);
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
  const variables = [...needed]
    .map(([path, isOptional]) => ({ path, isOptional }))
    .toSorted((a, b) => a.path.localeCompare(b.path));
  return { problems, variables };
}

const placed = ({ message, line, column }: { message: string; line: number; column: number }): string =>
  `${message} (line ${line}, column ${column})`;
