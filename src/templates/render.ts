import Handlebars from 'handlebars';
import { compile as compileText } from 'html-to-text';
import { LRUCache } from 'lru-cache';

import { ArgumentInvalid, ArgumentMissing, HELPERS } from './helpers.ts';
import { checkHtml, unsafeUrlIn } from './html-check.ts';
import { analyse, placeOf } from './syntax.ts';
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

/** The template itself is wrong, or what an event brings makes too much of it. */
export class TemplateInvalid extends Error {}

export interface RenderOptions {
  /** IANA: of dates, where the template does not say another. */
  timeZone?: string;
}

interface Part {
  source: string;
  template: Handlebars.TemplateDelegate;
  costs: ReadonlyMap<string, number>;
}

interface CompiledTemplate {
  subject: Part | null;
  body: Part;
  text: Part | null;
  isHtml: boolean;
  /** Addresses come from events, and are looked at when they are there. */
  hasDynamicUrls: boolean;
}

/** Characters of what one text becomes. */
const MAX_OUTPUT = 256 * 1024;
/** Nodes of a template that are run in lists: some milliseconds' worth. */
const MAX_WORK = 20_000;

/** Compiling takes a hundred times as long as rendering. A version never changes, so neither does what it compiles to. */
const compiled = new LRUCache<string, CompiledTemplate>({ max: 2_000 });

/** A Handlebars of our own, with nothing but the helpers that are on our list. */
const handlebars = Handlebars.create();
for (const name of ['log', 'lookup']) handlebars.unregisterHelper(name);
const knownHelpers = {
  log: false,
  lookup: false,
  ...Object.fromEntries(Object.keys(HELPERS).map((name) => [name, true])),
};

/** What one rendering has used so far. It is all done in one go, so there is only ever one. */
let running = { part: undefined as Part | undefined, work: 0, size: 0 };

/** Something went wrong in a helper that stands at this place. */
class HelperProblem extends Error {
  readonly loc: hbs.AST.SourceLocation;

  constructor(cause: Error, loc: hbs.AST.SourceLocation) {
    super(cause.message, { cause });
    this.loc = loc;
  }
}

type Options = Handlebars.HelperOptions & { loc: hbs.AST.SourceLocation };

for (const [name, helper] of Object.entries(HELPERS)) {
  handlebars.registerHelper(name, (...args: unknown[]) => {
    const { hash, data, loc } = args.pop() as Options;
    try {
      return helper(args, hash as Record<string, unknown>, data as { locale: string; timeZone: string });
    } catch (error) {
      throw new HelperProblem(error as Error, loc);
    }
  });
}

const hasInverse = ({ inverse }: Options): boolean => (inverse as { program?: number }).program !== undefined;

handlebars.registerHelper('with', function (this: unknown, value: unknown, options: Options) {
  if (isEmpty(value)) {
    if (value === undefined && !hasInverse(options)) throw new HelperProblem(new ArgumentMissing(), options.loc);
    return options.inverse(this);
  }
  return options.fn(value, { data: Handlebars.createFrame(options.data), blockParams: [value] });
});

handlebars.registerHelper('each', function (this: unknown, list: unknown, options: Options) {
  if (list === undefined && !hasInverse(options)) throw new HelperProblem(new ArgumentMissing(), options.loc);
  const entries: [string | number, unknown][] = Array.isArray(list)
    ? list.map((item, index) => [index, item])
    : Object.entries(typeof list === 'object' && list !== null ? list : {});
  const cost = running.part?.costs.get(placeOf(options.loc)) ?? 1;
  let result = '';
  for (const [index, [key, item]] of entries.entries()) {
    running.work += cost;
    if (running.work > MAX_WORK) throw new TemplateInvalid('its lists are too long');
    const data = Handlebars.createFrame(options.data) as Record<string, unknown>;
    Object.assign(data, { key, index, first: index === 0, last: index === entries.length - 1 });
    const piece = options.fn(item, { data, blockParams: [item, key] });
    running.size += piece.length;
    if (running.size > MAX_OUTPUT) throw new TemplateInvalid('it becomes too long');
    result += piece;
  }
  return entries.length > 0 ? result : options.inverse(this);
});

const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === false ||
  value === '' ||
  (Array.isArray(value) && value.length === 0);

/**
 * Renders a template with an event's params over the template's own defaults. Pure: the same version and params give
 * the same bytes. It ends in some milliseconds, whatever the template and the params are.
 *
 * @throws {TemplateVariableMissing} naming the variable
 * @throws {TemplateInvalid} when the template does not compile, or becomes too long or unsafe with these params
 */
export function renderTemplate(
  template: PublishedTemplate,
  params: Record<string, unknown>,
  { timeZone = 'UTC' }: RenderOptions = {},
): RenderedMessage {
  const { subject, body, text, isHtml, hasDynamicUrls } = compile(template);
  const data = bare({ ...template.defaultParams, ...params }) as Record<string, unknown>;
  const runtime = { locale: template.locale, timeZone };
  const renderedBody = run(body, data, runtime);
  const unsafe = hasDynamicUrls ? unsafeUrlIn(renderedBody) : undefined;
  if (unsafe !== undefined) {
    throw new TemplateInvalid(`an address in ${unsafe} is neither https:, http:, mailto: nor tel:`);
  }
  return {
    // A line break in a subject would start a new header.
    subject: subject === null ? null : run(subject, data, runtime).replaceAll(/\s*[\r\n]+\s*/g, ' '),
    html: isHtml ? renderedBody : null,
    text: text ? run(text, data, runtime) : isHtml ? textOf(renderedBody) : renderedBody,
  };
}

/** All that lies behind plain data: no path leads to a symbol, and Handlebars wants to print what it complains about. */
const NOTHING = Object.create(null, { [Symbol.toPrimitive]: { value: () => '[object]' } }) as object;

/** Plain data without a prototype that a path could lead to. */
function bare(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(bare);
  const copy = Object.create(NOTHING) as Record<string, unknown>;
  for (const [key, item] of Object.entries(value)) copy[key] = bare(item);
  return copy;
}

/** Only email shows HTML, and only where it is written as such. */
export const isHtmlBody = (channel: string, body: string): boolean => channel === 'email' && /<[a-z!/]/i.test(body);

function compile(template: PublishedTemplate): CompiledTemplate {
  const key = `${template.templateId}:${template.version}`;
  const known = compiled.get(key);
  if (known) return known;
  const isHtml = isHtmlBody(template.channel, template.body);
  const part = (source: string, noEscape: boolean): Part => {
    const { costs, problems } = analyse(source);
    const [problem] = problems;
    if (problem) throw new TemplateInvalid(`${problem.message} (line ${problem.line}, column ${problem.column})`);
    const options = { strict: true, noEscape, knownHelpers, knownHelpersOnly: true };
    return { source, costs, template: handlebars.compile(source, options) };
  };
  const fresh = {
    subject: template.subject === null ? null : part(template.subject, true),
    body: part(template.body, !isHtml),
    text: template.text === null ? null : part(template.text, true),
    isHtml,
    hasDynamicUrls: isHtml && checkHtml(template.body).hasDynamicUrls,
  };
  compiled.set(key, fresh);
  return fresh;
}

function run(part: Part, context: Record<string, unknown>, data: { locale: string; timeZone: string }): string {
  running = { part, work: 0, size: 0 };
  try {
    const result = part.template(context, { data });
    if (result.length > MAX_OUTPUT) throw new TemplateInvalid('it becomes too long');
    return result;
  } catch (error) {
    throw asTemplateError(error as Error, part);
  } finally {
    running.part = undefined;
  }
}

function asTemplateError(error: Error, { source }: Part): Error {
  if (error instanceof TemplateInvalid) return error;
  if (error instanceof HelperProblem) {
    const { start } = error.loc;
    if (error.cause instanceof ArgumentMissing) {
      return new TemplateVariableMissing(argumentAt(source, start.line, start.column) ?? 'an argument of a helper');
    }
    if (error.cause instanceof ArgumentInvalid) {
      return new TemplateInvalid(`${error.message} (line ${start.line}, column ${start.column + 1})`, { cause: error });
    }
  }
  const { message } = error;
  // In strict mode Handlebars tells the last name of the path and where it stands: "b" not defined in … - 1:2
  const missing = /^"(.*?)" not defined in .* - (\d+):(\d+)$/s.exec(message);
  if (missing) {
    const [, name, line, column] = missing as unknown as [string, string, string, string];
    return new TemplateVariableMissing(pathAt(source, Number(line), Number(column)) ?? name);
  }
  // A path through something that is null or absent, inside a helper's arguments.
  const property = /^Cannot read properties of (?:null|undefined) \(reading '(.*)'\)$/.exec(message)?.[1];
  if (property !== undefined) return new TemplateVariableMissing(property);
  return new TemplateInvalid(message, { cause: error });
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

/** The first argument of the helper that is called at a position of the source. */
function argumentAt(source: string, line: number, column: number): string | undefined {
  let found: string | undefined;
  const look = ({ loc, params }: hbs.AST.Node & { params: hbs.AST.Expression[] }): void => {
    const [first] = params;
    if (loc.start.line !== line || loc.start.column !== column || first?.type !== 'PathExpression') return;
    found = (first as hbs.AST.PathExpression).original;
  };
  class CallFinder extends Handlebars.Visitor {
    override MustacheStatement(node: hbs.AST.MustacheStatement): void {
      look(node);
      super.MustacheStatement(node);
    }
    override BlockStatement(node: hbs.AST.BlockStatement): void {
      look(node);
      super.BlockStatement(node);
    }
    override SubExpression(node: hbs.AST.SubExpression): void {
      look(node);
      super.SubExpression(node);
    }
  }
  new CallFinder().accept(Handlebars.parseWithoutProcessing(source));
  return found;
}

/** Its options are read once: reading them takes longer than converting a mail. */
const textOf = compileText({
  wordwrap: 78,
  // Of what is nested on and on, the text is lost, and not our time.
  limits: { maxInputLength: MAX_OUTPUT, maxDepth: 100, maxChildNodes: 10_000 },
  selectors: [
    { selector: 'img', format: 'skip' },
    { selector: 'a', options: { hideLinkHrefIfSameAsText: true } },
  ],
});
