import Handlebars from 'handlebars';
import { compile as compileText } from 'html-to-text';
import { LRUCache } from 'lru-cache';

import type { PublishedTemplate, RenderedMessage } from './template.ts';

/** The template needs something that neither the event nor the template's defaults have. */
export class TemplateVariableMissing extends Error {
  readonly variable: string;

  constructor(variable: string) {
    super(`The template needs "${variable}", and neither params nor default_params have it.`);
    this.name = 'TemplateVariableMissing';
    this.variable = variable;
  }
}

/** The template itself is wrong, whatever the event brings. */
export class TemplateInvalid extends Error {}

type Compiled = Handlebars.TemplateDelegate;

interface Part {
  source: string;
  template: Compiled;
}

interface CompiledTemplate {
  subject: Part | null;
  body: Part;
  isHtml: boolean;
}

/** Compiling takes a hundred times as long as rendering. A version never changes, so neither does what it compiles to. */
const compiled = new LRUCache<string, CompiledTemplate>({ max: 2_000 });

/** A Handlebars of our own: helpers that anybody registers on the shared one stay out of tenants' reach. */
const handlebars = Handlebars.create();

/**
 * Renders a template with an event's params over the template's own defaults. Pure: the same version and params give
 * the same bytes.
 *
 * @throws {TemplateVariableMissing} naming the variable
 * @throws {TemplateInvalid} when the template does not compile
 */
export function renderTemplate(template: PublishedTemplate, params: Record<string, unknown>): RenderedMessage {
  const { subject, body, isHtml } = compile(template);
  const data = { ...template.defaultParams, ...params };
  const renderedBody = run(body, data);
  return {
    // A line break in a subject would start a new header.
    subject: subject === null ? null : run(subject, data).replaceAll(/\s*[\r\n]+\s*/g, ' '),
    html: isHtml ? renderedBody : null,
    text: isHtml ? textOf(renderedBody) : renderedBody,
  };
}

function compile(template: PublishedTemplate): CompiledTemplate {
  const key = `${template.templateId}:${template.version}`;
  const known = compiled.get(key);
  if (known) return known;
  const isHtml = template.channel === 'email' && /<[a-z!/]/i.test(template.body);
  const part = (source: string, noEscape: boolean): Part => ({
    source,
    template: handlebars.compile(source, { strict: true, noEscape }),
  });
  const fresh = {
    subject: template.subject === null ? null : part(template.subject, true),
    body: part(template.body, !isHtml),
    isHtml,
  };
  compiled.set(key, fresh);
  return fresh;
}

function run({ source, template }: Part, data: Record<string, unknown>): string {
  try {
    return template(data);
  } catch (error) {
    const { message } = error as Error;
    // In strict mode Handlebars tells the last name of the path and where it stands: "b" not defined in … - 1:2
    const missing = /^"(.*?)" not defined in .* - (\d+):(\d+)$/s.exec(message);
    if (missing) {
      const [, name, line, column] = missing as unknown as [string, string, string, string];
      throw new TemplateVariableMissing(pathAt(source, Number(line), Number(column)) ?? name);
    }
    // A path through something that is null or absent, inside a helper's arguments.
    const property = /^Cannot read properties of (?:null|undefined) \(reading '(.*)'\)$/.exec(message)?.[1];
    if (property !== undefined) throw new TemplateVariableMissing(property);
    throw new TemplateInvalid(message, { cause: error });
  }
}

/** The whole path, as its author wrote it, that starts at a position of the source. */
function pathAt(source: string, line: number, column: number): string | undefined {
  let found: string | undefined;
  class PathFinder extends Handlebars.Visitor {
    override PathExpression(path: hbs.AST.PathExpression): void {
      if (path.loc.start.line === line && path.loc.start.column === column) found = path.original;
    }
  }
  new PathFinder().accept(Handlebars.parse(source));
  return found;
}

/** Its options are read once: reading them takes longer than converting a mail. */
const textOf = compileText({
  wordwrap: 78,
  selectors: [
    { selector: 'img', format: 'skip' },
    { selector: 'a', options: { hideLinkHrefIfSameAsText: true } },
  ],
});
