import Handlebars from 'handlebars';

import { digitsOf, exactNumber, isExactNumber } from '../exact-json.ts';
import { ArgumentInvalid, ArgumentMissing, UrlEncoded } from './arguments.ts';
import type { HelperContext } from './formats.ts';
import { HELPERS, isTruthy } from './helpers.ts';
import { encodedInLink, LINK_LENGTH, mayBeInLink } from './links.ts';
import { isName, type NumberNode, placeOf, TOLERANT } from './syntax.ts';

/** The template uses a variable that neither the event nor the template's defaults contain. */
export class TemplateVariableMissing extends Error {
  readonly variable: string;

  constructor(variable: string) {
    super(
      `The template needs the variable "${variable}". Add it to the event's params or the template's defaultParams.`,
    );
    this.name = 'TemplateVariableMissing';
    this.variable = variable;
  }
}

/** The template is invalid, or exceeds a limit with the params of this event. */
export class TemplateInvalid extends Error {}

/** Limits of rendering one message. They depend only on the template and the params, not on time or load. */
export class Budget {
  /** Maximum length of one rendered text, in characters. */
  static readonly MAX_OUTPUT = 256 * 1024;
  /**
   * Maximum number of steps: 1 for each node and list item, 10 for each helper call and 10 for each formatted value.
   */
  static readonly MAX_WORK = 40_000;
  /** Maximum length of all arguments of helpers, in characters. */
  static readonly MAX_READ = 1024 * 1024;
  /** Maximum number of different formats of dates and numbers. Creating a formatter costs as much as 100 uses. */
  static readonly MAX_FORMATS = 30;

  #work = 0;
  #read = 0;
  #output = 0;
  readonly #formats = new Set<string>();

  /** Starts the next text of the message. */
  begin(): void {
    this.#output = 0;
  }

  work(nodes: number): void {
    this.#work += nodes;
    if (this.#work > Budget.MAX_WORK)
      throw new TemplateInvalid('rendering takes too many steps; shorten the lists in params');
  }

  output(characters: number): void {
    this.#output += characters;
    if (this.#output > Budget.MAX_OUTPUT) throw new TemplateInvalid(TOO_LONG);
  }

  read(values: unknown[]): void {
    for (const value of values) {
      if (typeof value === 'string') this.#read += value.length;
      else if (Array.isArray(value)) {
        this.work(value.length);
        for (const item of value) if (typeof item === 'string') this.#read += item.length;
      }
    }
    if (this.#read > Budget.MAX_READ)
      throw new TemplateInvalid(`the arguments of helpers exceed ${Budget.MAX_READ / 1024} K characters`);
  }

  format(name: string): void {
    this.work(10);
    this.#formats.add(name);
    if (this.#formats.size > Budget.MAX_FORMATS) {
      throw new TemplateInvalid(`it uses more than ${Budget.MAX_FORMATS} formats of dates and numbers`);
    }
  }
}

const TOO_LONG = `the rendered text exceeds ${Budget.MAX_OUTPUT / 1024} K characters`;

export interface Evaluation {
  /** JSON. Only own properties are read, so that no path reaches a prototype. */
  data: unknown;
  locale: string;
  timeZone: string;
  /** Time of rendering. */
  now: Date;
  /** URL of `@unsubscribeUrl`; null when the message has none. */
  unsubscribeUrl: string | null;
  /** True when values are escaped for HTML. */
  isHtml: boolean;
  budget: Budget;
}

/** Scope of names within a block. */
interface Frame {
  value: unknown;
  parent: Frame | null;
  names: Readonly<Record<string, unknown>>;
  specials: Specials;
}

/** Values of the names with `@`, of one list or of the message. */
interface Specials {
  values: Readonly<Record<string, unknown>>;
  /** Those of the enclosing list, which `@../index` reads. */
  parent: Specials | null;
}

/**
 * Interprets a syntax tree that `analyse` has accepted, by the rules of Handlebars in strict mode. It does not compile
 * to JavaScript, so that a template cannot run code, and it counts each step before doing it.
 *
 * @throws {TemplateVariableMissing} with the full path of the variable
 * @throws {TemplateInvalid} when the text exceeds a limit of {@link Budget} or an argument of a helper is invalid
 */
export function evaluate(
  program: hbs.AST.Program,
  { data, isHtml, budget, unsubscribeUrl, ...languages }: Evaluation,
): string {
  const context: HelperContext = { ...languages, onFormat: (name) => budget.format(name) };
  const message = { locale: languages.locale, unsubscribeUrl };
  budget.begin();
  const output: string[] = [];

  const write = (text: string): void => {
    // An empty last piece would hide that the next value is in a link.
    if (text === '') return;
    budget.output(text.length);
    output.push(text);
  };

  /** Returns the end of the output, as far as a link may reach back. */
  const lastOutput = (): string => {
    let index = output.length - 1;
    let text = output[index] ?? '';
    while (index > 0 && text.length < LINK_LENGTH) text = (output[(index -= 1)] as string) + text;
    return text.slice(-LINK_LENGTH);
  };

  const run = ({ body }: hbs.AST.Program, frame: Frame): void => {
    for (const node of body) {
      budget.work(1);
      if (node.type === 'ContentStatement') write((node as hbs.AST.ContentStatement).value);
      else if (node.type === 'MustacheStatement') print(node as hbs.AST.MustacheStatement, frame);
      else if (node.type === 'BlockStatement') block(node as hbs.AST.BlockStatement, frame);
    }
  };

  const print = (node: hbs.AST.MustacheStatement, frame: Frame): void => {
    const path = node.path as hbs.AST.PathExpression;
    const isCall = node.params.length > 0 || node.hash || path.original in HELPERS;
    const value = isCall ? call({ ...node, path }, frame) : need(path, frame);
    if (value === null || value === undefined) return;
    const isEncoded = value instanceof UrlEncoded;
    const plain = isEncoded ? value.text : printed(value);
    const isInLink = node.escaped && !isEncoded && mayBeInLink(plain, output.at(-1) ?? '');
    const text = isInLink ? encodedInLink(plain, lastOutput(), isHtml) : plain;
    // Checked before escaping, which makes the text up to six times as long.
    if (text.length > Budget.MAX_OUTPUT) throw new TemplateInvalid(TOO_LONG);
    write(isHtml && node.escaped ? Handlebars.escapeExpression(text) : text);
  };

  const block = (node: hbs.AST.BlockStatement, frame: Frame): void => {
    const name = node.path.original;
    const [param] = node.params as [hbs.AST.Expression];
    const isCondition = name === 'if' || name === 'unless';
    const otherwise = (): void => {
      if (node.inverse) run(node.inverse, frame);
    };
    const value = valueOf(param, frame, isCondition || Boolean(node.inverse));
    if (isCondition) {
      if (isTruthy(value) === (name === 'if')) run(node.program, frame);
      else otherwise();
    } else if (name === 'with') {
      if (value === 0 || isExactNumber(value) || isTruthy(value)) run(node.program, within(node.program, frame, value));
      else otherwise();
    } else {
      const isList = Array.isArray(value);
      const hasKeys = !isList && typeof value === 'object' && value !== null && !isExactNumber(value);
      const keys = hasKeys ? Object.keys(value) : [];
      const size = isList ? value.length : keys.length;
      budget.work(size);
      for (let index = 0; index < size; index += 1) {
        const key = isList ? index : (keys[index] as string);
        const item = (value as Record<string | number, unknown>)[key];
        const values = { ...message, key, index, first: index === 0, last: index === size - 1 };
        run(node.program, within(node.program, frame, item, key, { values, parent: frame.specials }));
      }
      if (size === 0) otherwise();
    }
  };

  const valueOf = (node: hbs.AST.Expression, frame: Frame, isTolerated: boolean): unknown => {
    budget.work(1);
    if (node.type === 'PathExpression') {
      const path = node as hbs.AST.PathExpression;
      return isTolerated ? find(path, frame) : need(path, frame);
    }
    if (node.type === 'SubExpression') return call(node as hbs.AST.SubExpression, frame);
    if (node.type === 'UndefinedLiteral') return undefined;
    if (node.type === 'NullLiteral') return null;
    const { digits } = node as NumberNode;
    return digits === undefined ? (node as hbs.AST.StringLiteral).value : exactNumber(digits);
  };

  const call = ({ path, params, hash, loc }: Call, frame: Frame): unknown => {
    const name = path.original;
    const args = params.map((param) => valueOf(param, frame, TOLERANT.has(name)));
    const options = Object.fromEntries(
      hash?.pairs.map(({ key, value }) => [key, valueOf(value, frame, false)] as const) ?? [],
    );
    budget.work(10);
    budget.read([...args, ...Object.values(options)]);
    try {
      // Only `default` may return its argument unchanged. To the others, encoded text is a text.
      const values = name === 'default' ? args : args.map(unwrapped);
      return HELPERS[name]?.(values, options, context);
    } catch (error) {
      if (error instanceof ArgumentMissing) {
        const missing = params.findLast((param) => param.type === 'PathExpression') as hbs.AST.PathExpression;
        throw new TemplateVariableMissing(missing?.original ?? `an argument of ${name}`);
      }
      if (!(error instanceof ArgumentInvalid)) throw error;
      const { line, column } = placeOf({ loc });
      const wrong = [...params.keys()].find((index) => error.value !== undefined && args[index] === error.value);
      const path = wrong === undefined ? undefined : (params[wrong] as hbs.AST.PathExpression).original;
      const where = typeof path === 'string' ? ` as ${path}` : '';
      throw new TemplateInvalid(`${name} ${error.message}${where} (line ${line}, column ${column})`, { cause: error });
    }
  };

  run(program, { value: data, parent: null, names: NONE, specials: { values: message, parent: null } });
  return output.join('');
}

interface Call {
  path: hbs.AST.PathExpression;
  params: hbs.AST.Expression[];
  hash?: hbs.AST.Hash;
  loc: hbs.AST.SourceLocation;
}

const NONE: Readonly<Record<string, unknown>> = Object.freeze(Object.create(null) as Record<string, unknown>);

/** Maximum nesting depth of a printed list. Events with deeper values are rejected at intake. */
const MAX_DEPTH = 64;

/**
 * Converts a value to text like JavaScript does, except that an object becomes `[object]` and none of its methods runs.
 */
function printed(value: unknown, depth = 0): string {
  if (depth > MAX_DEPTH) throw new TemplateInvalid(`a printed list is nested more than ${MAX_DEPTH} levels deep`);
  if (isExactNumber(value)) return value.rawJSON;
  if (typeof value === 'number') return digitsOf(value);
  if (Array.isArray(value)) return value.map((item: unknown) => printed(item ?? '', depth + 1)).join(',');
  return typeof value === 'object' ? '[object]' : String(value);
}

const unwrapped = (value: unknown): unknown => (value instanceof UrlEncoded ? value.text : value);

function within(
  { blockParams }: hbs.AST.Program,
  parent: Frame,
  value: unknown,
  key?: string | number,
  specials = parent.specials,
): Frame {
  const [item, second] = blockParams ?? [];
  const names = item === undefined ? parent.names : Object.assign(Object.create(null) as object, parent.names);
  if (item !== undefined) Object.assign(names, { [item]: value });
  if (second !== undefined) Object.assign(names, { [second]: key });
  return { value, parent, names, specials };
}

/** Returns the value at a path; undefined when it does not exist. */
function find(path: hbs.AST.PathExpression, frame: Frame): unknown {
  if (path.data) {
    let specials: Specials | null = frame.specials;
    for (let depth = 0; depth < path.depth; depth += 1) specials = specials?.parent ?? null;
    return specials?.values[path.parts[0] ?? ''];
  }
  let scope: Frame | null = frame;
  for (let depth = 0; depth < path.depth; depth += 1) scope = scope?.parent ?? null;
  if (!scope) return undefined;
  const [first = '', ...rest] = path.parts;
  const isNamed = isName(path) && Object.hasOwn(scope.names, first);
  let value = isNamed ? scope.names[first] : scope.value;
  for (const part of isNamed ? rest : path.parts) {
    if (typeof value !== 'object' || value === null || isExactNumber(value) || !Object.hasOwn(value, part))
      return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

function need(path: hbs.AST.PathExpression, frame: Frame): unknown {
  const value = find(path, frame);
  if (value === undefined) throw new TemplateVariableMissing(path.original);
  return value;
}
