import Handlebars from 'handlebars';

import { HELPERS } from './helpers.ts';
import { MAX_DEPTH, MAX_NODES, scan, type SyntaxProblem } from './scan.ts';

/** A variable that a template uses. Within a list it is written as `items[].name`. */
export interface TemplateVariable {
  path: string;
  /** The template copes without it: it stands in a condition, or `default` has something in its place. */
  isOptional: boolean;
}

export interface Analysis {
  problems: SyntaxProblem[];
  variables: TemplateVariable[];
  /** Where `{{{…}}}` or `{{&…}}` stand, which put HTML of an event into a page as it is. */
  raw: { line: number; column: number }[];
  /** `{{> name}}`: put in when the template is saved, and refused anywhere else. */
  partials: { name: string; line: number; column: number }[];
  /** The syntax tree; null where there are problems. */
  program: hbs.AST.Program | null;
}

/** Bytes of one text as it is written. */
export const MAX_SOURCE = 64 * 1024;
export const BLOCK_HELPERS: ReadonlySet<string> = new Set(['if', 'unless', 'each', 'with']);
/** These look at a value and do without. */
export const TOLERANT: ReadonlySet<string> = new Set(['if', 'unless', 'and', 'or', 'not', 'eq', 'default']);

/**
 * Reads a template as its author wrote it: what is wrong with it, and what it needs. Nothing is run. What is not on the
 * list of what a template may hold is refused, so that what Handlebars learns in later versions is refused too.
 */
export function analyse(source: string): Analysis {
  const none = { variables: [], raw: [], partials: [], program: null };
  const early = scan(source).problem;
  if (early) return { ...none, problems: [early] };
  let program: hbs.AST.Program;
  try {
    program = Handlebars.parse(source);
  } catch (error) {
    return { ...none, problems: [parseProblem(error as Error, source)] };
  }
  const walk = new Walk();
  walk.program(program, [{ path: '', names: new Map() }], 0);
  return {
    problems: walk.problems,
    variables: walk.variables(),
    raw: walk.raw,
    partials: walk.partials,
    program: walk.problems.length === 0 ? program : null,
  };
}

/** Where a node begins, as an author counts. */
export const placeOf = ({ loc: { start } }: Pick<hbs.AST.Node, 'loc'>): { line: number; column: number } => ({
  line: start.line,
  column: start.column + 1,
});

/** It may be what `as |name|` gave a name to; `this.name` and `../name` are not. */
export const isName = ({ depth, original }: hbs.AST.PathExpression): boolean =>
  depth === 0 && !/^(?:\.\/|this\b)/.test(original);

function parseProblem({ message, ...error }: Error & { lineNumber?: number; column?: number }, source: string) {
  const found = /Parse error on line (\d+):\n(.*)\n(-*)\^/.exec(message);
  if (!found) {
    const { lineNumber = 1, column = 0 } = error;
    return { message: message.replace(/ - \d+:\d+$/, ''), line: lineNumber, column: column + 1 };
  }
  const [, number, shown, arrow] = found as unknown as [string, string, string, string];
  // The parser shows what came before, cut off and without line breaks: looked for in its line, it gives the column.
  const past = shown.slice(0, arrow.length).replace(/^\.\.\./, '');
  const line = source.split('\n')[Number(number) - 1] ?? '';
  const sizes = Array.from({ length: past.length }, (_unused, index) => past.length - index);
  const size = sizes.find((length) => line.includes(past.slice(-length)));
  const column = size === undefined ? 1 : line.indexOf(past.slice(-size)) + size + 1;
  return { message: 'this expression cannot be read', line: Number(number), column };
}

/** What a path means at one place: the path that `this` stands for, and what names were given to what. */
interface Scope {
  /** Empty at the top; undefined where it cannot be told, e.g. within what a helper gave. */
  path: string | undefined;
  names: ReadonlyMap<string, string | undefined>;
}

class Walk {
  readonly problems: SyntaxProblem[] = [];
  readonly raw: { line: number; column: number }[] = [];
  readonly partials: Analysis['partials'] = [];
  #nodes = 0;
  readonly #found = new Map<string, boolean>();

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
    if (this.#nodes === MAX_NODES + 1) this.#refuse(node, `may hold ${MAX_NODES} expressions at most`);
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

  /** What is put in when the template is saved: by its name alone. */
  #partial(node: hbs.AST.PartialStatement): void {
    const { name, params, hash } = node;
    const isPlain = name.type === 'PathExpression' && /^[A-Za-z][\w-]*$/.test(String(name.original));
    if (!isPlain || params.length > 0 || hash) this.#refuse(node, 'a partial is named, and takes nothing');
    else this.partials.push({ name: String(name.original), ...placeOf(node) });
  }

  #mustache(node: hbs.AST.MustacheStatement, scopes: Scope[], isOptional: boolean): void {
    if (!node.escaped) this.raw.push(placeOf(node));
    if (node.path.type !== 'PathExpression') return this.#refuse(node, 'a helper is called by its name');
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
      return this.#refuse(node, `there is no block helper "${name}"; there are ${[...BLOCK_HELPERS].join(', ')}`);
    }
    if (node.params.length !== 1) return this.#refuse(node, `{{#${name}}} takes one value`);
    if (node.hash) return this.#refuse(node, `{{#${name}}} takes no options`);
    const [value] = node.params as [hbs.AST.Expression];
    const isCondition = name === 'if' || name === 'unless';
    // Where there is something else in its place, nobody misses it.
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
    return [{ path, names }, ...scopes];
  }

  #call(
    { original, loc }: hbs.AST.PathExpression,
    params: hbs.AST.Expression[],
    hash: hbs.AST.Hash | undefined,
    scopes: Scope[],
    isOptional: boolean,
  ): void {
    if (!(original in HELPERS)) {
      this.#refuse({ type: '', loc }, `there is no helper "${original}"; there are ${Object.keys(HELPERS).join(', ')}`);
    }
    for (const [index, param] of params.entries()) {
      this.#value(param, scopes, isOptional, TOLERANT.has(original) && (index === 0 || original !== 'default'));
    }
    for (const { value } of hash?.pairs ?? []) this.#value(value, scopes, isOptional);
  }

  /**
   * @param isTolerated whether what it is for does without it. What a helper within it needs is needed all the same.
   * @returns the path of a value that is one.
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
        else this.#refuse(node, 'a helper is called by its name');
        return undefined;
      }
      case 'StringLiteral':
      case 'NumberLiteral':
      case 'BooleanLiteral':
      case 'NullLiteral':
      case 'UndefinedLiteral':
        return undefined;
      default:
        this.#refuse(node, 'this is not allowed here');
        return undefined;
    }
  }

  #path(node: hbs.AST.PathExpression, scopes: Scope[], isOptional: boolean): string | undefined {
    // `@index`, `@key`, `@first`, `@last`, and what we give: `@locale`.
    if (node.data) {
      if (!/^@(index|key|first|last|locale)$/.test(node.original)) this.#refuse(node, `there is no ${node.original}`);
      return undefined;
    }
    if (node.parts.some((part) => FORBIDDEN.has(part))) this.#refuse(node, `"${node.original}" is not allowed`);
    const scope = scopes[node.depth];
    if (!scope) {
      this.#refuse(node, `"${node.original}" leads out of the template`);
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

/** Handlebars does not give these out; who writes one means no good. */
const FORBIDDEN = new Set([
  '__proto__',
  'constructor',
  'prototype',
  '__defineGetter__',
  '__defineSetter__',
  '__lookupGetter__',
  '__lookupSetter__',
]);
