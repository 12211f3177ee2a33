import Handlebars from 'handlebars';

import { HELPERS } from './helpers.ts';
import { MAX_DEPTH, MAX_NODES, scan, type SyntaxProblem } from './scan.ts';

/** A variable that a template uses. The path of a list item's field is `items[].name`. */
export interface TemplateVariable {
  path: string;
  /** True when the template can be rendered without it: it is a condition, or `default` or `else` replaces it. */
  isOptional: boolean;
}

export interface Analysis {
  problems: SyntaxProblem[];
  variables: TemplateVariable[];
  /** Positions of `{{{…}}}` and `{{&…}}`, which insert HTML of an event without escaping. */
  raw: { line: number; column: number }[];
  /** `{{> name}}`, which is expanded when the template is saved. */
  partials: { name: string; line: number; column: number }[];
  /** True when the template contains `@unsubscribeUrl`. */
  usesUnsubscribeUrl: boolean;
  /** The syntax tree; null when there are problems. */
  program: hbs.AST.Program | null;
}

/** Maximum size of one text as entered by the author, in bytes. */
export const MAX_SOURCE = 64 * 1024;
export const BLOCK_HELPERS: ReadonlySet<string> = new Set(['if', 'unless', 'each', 'with']);
/** A number in a template. `digits` is set when JavaScript would round it. */
export type NumberNode = hbs.AST.NumberLiteral & { digits?: string };

/** Helpers whose arguments may be missing. */
export const TOLERANT: ReadonlySet<string> = new Set(['if', 'unless', 'and', 'or', 'not', 'eq', 'default']);

/**
 * Parses a template and returns its problems and variables, without running it. Only listed syntax is accepted, so that
 * features of later Handlebars versions are refused.
 */
export function analyse(source: string): Analysis {
  const failed = { variables: [], raw: [], partials: [], usesUnsubscribeUrl: false, program: null };
  const early = scan(source).problem;
  if (early) return { ...failed, problems: [early] };
  let program: hbs.AST.Program;
  try {
    program = Handlebars.parse(source);
  } catch (error) {
    return { ...failed, problems: [parseProblem(error as Error, source)] };
  }
  const walk = new Walk(source);
  walk.program(program, [{ path: '', names: new Map(), lists: 0 }], 0);
  return {
    problems: walk.problems,
    variables: walk.variables(),
    raw: walk.raw,
    partials: walk.partials,
    usesUnsubscribeUrl: walk.usesUnsubscribeUrl,
    program: walk.problems.length === 0 ? program : null,
  };
}

/** Returns the start of a node. Lines and columns start at 1. */
export const placeOf = ({ loc: { start } }: Pick<hbs.AST.Node, 'loc'>): { line: number; column: number } => ({
  line: start.line,
  column: start.column + 1,
});

/** Returns true when the path may refer to a block parameter (`as |name|`); false for `this.name` and `../name`. */
export const isName = ({ depth, original }: hbs.AST.PathExpression): boolean =>
  depth === 0 && !/^(?:\.\/|this\b)/.test(original);

function parseProblem({ message, ...error }: Error & { lineNumber?: number; column?: number }, source: string) {
  const found = /Parse error on line (\d+):\n(.*)\n(-*)\^/.exec(message);
  if (!found) {
    const { lineNumber = 1, column = 0 } = error;
    return { message: message.replace(/ - \d+:\d+$/, ''), line: lineNumber, column: column + 1 };
  }
  const [, number, shown, arrow] = found as unknown as [string, string, string, string];
  // The parser shows the preceding text, shortened and without line breaks. Its position in the line gives the column.
  const past = shown.slice(0, arrow.length).replace(/^\.\.\./, '');
  const line = source.split('\n')[Number(number) - 1] ?? '';
  const sizes = Array.from({ length: past.length }, (_unused, index) => past.length - index);
  const size = sizes.find((length) => line.includes(past.slice(-length)));
  const column = size === undefined ? 1 : line.indexOf(past.slice(-size)) + size + 1;
  return { message: 'this expression has a syntax error', line: Number(number), column };
}

/** Scope within a block: the path of `this` and the paths of the block parameters. */
interface Scope {
  /** Empty at the top level; undefined when it is not known, e.g. for the result of a helper. */
  path: string | undefined;
  names: ReadonlyMap<string, string | undefined>;
  /** Number of enclosing lists. */
  lists: number;
}

class Walk {
  readonly problems: SyntaxProblem[] = [];
  readonly raw: { line: number; column: number }[] = [];
  readonly partials: Analysis['partials'] = [];
  usesUnsubscribeUrl = false;
  readonly #lines: string[];
  #nodes = 0;
  readonly #found = new Map<string, boolean>();

  constructor(source: string) {
    this.#lines = source.split(/\r\n|\n/);
  }

  variables(): TemplateVariable[] {
    return [...this.#found]
      .map(([path, isOptional]) => ({ path, isOptional }))
      .toSorted((a, b) => a.path.localeCompare(b.path));
  }

  program({ body }: hbs.AST.Program, scopes: Scope[], depth: number, isOptional = false): void {
    if (depth > MAX_DEPTH) return;
    for (const statement of body) this.#statement(statement, scopes, depth, isOptional);
  }

  #refuse(node: hbs.AST.Node, message: string): void {
    this.problems.push({ message, ...placeOf(node) });
  }

  #count(node: hbs.AST.Node): void {
    this.#nodes += 1;
    if (this.#nodes === MAX_NODES + 1) this.#refuse(node, `contains more than ${MAX_NODES} expressions`);
  }

  #statement(node: hbs.AST.Statement, scopes: Scope[], depth: number, isOptional: boolean): void {
    this.#count(node);
    switch (node.type) {
      case 'ContentStatement':
      case 'CommentStatement':
        return;
      case 'MustacheStatement':
        return this.#mustache(node as hbs.AST.MustacheStatement, scopes, isOptional);
      case 'BlockStatement':
        return this.#block(node as hbs.AST.BlockStatement, scopes, depth, isOptional);
      case 'PartialStatement':
        return this.#partial(node as hbs.AST.PartialStatement);
      case 'PartialBlockStatement':
        return this.#refuse(node, 'partials are not allowed here');
      default:
        return this.#refuse(node, 'decorators are not allowed');
    }
  }

  /** A partial has a literal name, so that it can be expanded when the template is saved. */
  #partial(node: hbs.AST.PartialStatement): void {
    const { name, params, hash } = node;
    const isPlain = name.type === 'PathExpression' && /^[A-Za-z][\w-]*$/.test(String(name.original));
    if (!isPlain || params.length > 0 || hash)
      this.#refuse(node, 'a partial must have a literal name and no arguments');
    else this.partials.push({ name: String(name.original), ...placeOf(node) });
  }

  #mustache(node: hbs.AST.MustacheStatement, scopes: Scope[], isOptional: boolean): void {
    if (!node.escaped) this.raw.push(placeOf(node));
    if (node.path.type !== 'PathExpression') return this.#refuse(node, 'a helper must be called by its name');
    const path = node.path as hbs.AST.PathExpression;
    if (node.params.length === 0 && !node.hash && !(path.original in HELPERS)) {
      this.#path(path, scopes, isOptional);
      return;
    }
    this.#call(path, node.params, node.hash, scopes, isOptional);
  }

  #block(node: hbs.AST.BlockStatement, scopes: Scope[], depth: number, isOptional: boolean): void {
    const name = node.path.original;
    if (!BLOCK_HELPERS.has(name)) {
      return this.#refuse(node, `unknown block helper "${name}"; use one of ${[...BLOCK_HELPERS].join(', ')}`);
    }
    if (node.params.length !== 1) return this.#refuse(node, `{{#${name}}} needs exactly one value`);
    if (node.hash) return this.#refuse(node, `{{#${name}}} has no options`);
    const [value] = node.params as [hbs.AST.Expression];
    const isCondition = name === 'if' || name === 'unless';
    // With `else` the value may be missing.
    const subject = this.#value(value, scopes, isOptional, isCondition || node.inverse !== undefined);
    this.program(node.program, this.#within(name, subject, node.program, scopes), depth + 1, isOptional || isCondition);
    if (node.inverse) this.program(node.inverse, scopes, depth + 1, true);
  }

  #within(name: string, subject: string | undefined, program: hbs.AST.Program, scopes: Scope[]): Scope[] {
    const [current] = scopes as [Scope];
    if (name === 'if' || name === 'unless') return scopes;
    const path = name === 'each' && subject !== undefined ? `${subject}[]` : subject;
    const names = new Map(current.names);
    const [item, key] = program.blockParams ?? [];
    if (item !== undefined) names.set(item, path);
    if (key !== undefined) names.set(key, undefined);
    return [{ path, names, lists: current.lists + (name === 'each' ? 1 : 0) }, ...scopes];
  }

  #call(
    { original, loc }: hbs.AST.PathExpression,
    params: hbs.AST.Expression[],
    hash: hbs.AST.Hash | undefined,
    scopes: Scope[],
    isOptional: boolean,
  ): void {
    if (!(original in HELPERS)) {
      this.#refuse({ type: '', loc }, `unknown helper "${original}"; use one of ${Object.keys(HELPERS).join(', ')}`);
    }
    for (const [index, param] of params.entries()) {
      this.#value(param, scopes, isOptional, TOLERANT.has(original) && (index === 0 || original !== 'default'));
    }
    for (const { value } of hash?.pairs ?? []) this.#value(value, scopes, isOptional);
  }

  /**
   * @param isTolerated true when this value may be missing. Arguments of a nested helper call stay required.
   * @returns the path of the value; undefined when it is a literal or a helper call.
   */
  #value(node: hbs.AST.Expression, scopes: Scope[], isOptional: boolean, isTolerated = false): string | undefined {
    this.#count(node);
    switch (node.type) {
      case 'PathExpression':
        return this.#path(node as hbs.AST.PathExpression, scopes, isOptional || isTolerated);
      case 'SubExpression': {
        const { path, params, hash } = node as hbs.AST.SubExpression;
        if (path.type === 'PathExpression')
          this.#call(path as hbs.AST.PathExpression, params, hash, scopes, isOptional);
        else this.#refuse(node, 'a helper must be called by its name');
        return undefined;
      }
      case 'NumberLiteral':
        this.#number(node as NumberNode);
        return undefined;
      case 'StringLiteral':
      case 'BooleanLiteral':
      case 'NullLiteral':
      case 'UndefinedLiteral':
        return undefined;
      default:
        this.#refuse(node, 'this syntax is not allowed here');
        return undefined;
    }
  }

  /** The parser keeps only the rounded number. The digits are a text, because they pass between threads. */
  #number(node: NumberNode): void {
    const { start, end } = node.loc;
    const digits = (this.#lines[start.line - 1] as string).slice(start.column, end.column);
    if (digits !== String(node.value)) node.digits = digits;
  }

  #special(node: hbs.AST.PathExpression, lists: number): void {
    const { parts, depth, original } = node;
    const [name = ''] = parts;
    const isKnown = parts.length === 1 && (OF_LIST.has(name) || (depth === 0 && OF_MESSAGE.has(name)));
    if (!isKnown) this.#refuse(node, `unknown name ${original}`);
    else if (depth > 0 && depth >= lists) {
      this.#refuse(node, `"${original}" has more "../" than there are enclosing {{#each}} blocks`);
    }
    if (name === 'unsubscribeUrl') this.usesUnsubscribeUrl = true;
  }

  #path(node: hbs.AST.PathExpression, scopes: Scope[], isOptional: boolean): string | undefined {
    if (node.data) {
      this.#special(node, (scopes[0] as Scope).lists);
      return undefined;
    }
    if (node.parts.some((part) => FORBIDDEN.has(part))) this.#refuse(node, `"${node.original}" is not allowed`);
    const scope = scopes[node.depth];
    if (!scope) {
      this.#refuse(node, `"${node.original}" has more "../" than there are enclosing blocks`);
      return undefined;
    }
    const [first, ...rest] = node.parts;
    const isNamed = first !== undefined && isName(node) && scope.names.has(first);
    const base = isNamed ? scope.names.get(first) : scope.path;
    if (base === undefined) return undefined;
    const parts = isNamed ? rest : node.parts;
    const path = [base, ...parts].filter((part) => part !== '').join('.');
    if (path !== '' && !path.endsWith('[]')) this.#found.set(path, (this.#found.get(path) ?? true) && isOptional);
    return path;
  }
}

/** Names with `@` of a list, which Handlebars defines. */
const OF_LIST = new Set(['index', 'key', 'first', 'last']);
/** Names with `@` of a message, which are ours. */
const OF_MESSAGE = new Set(['locale', 'unsubscribeUrl']);

/** Names that Handlebars blocks, because they allow access to prototypes. */
const FORBIDDEN = new Set([
  '__proto__',
  'constructor',
  'prototype',
  '__defineGetter__',
  '__defineSetter__',
  '__lookupGetter__',
  '__lookupSetter__',
]);
