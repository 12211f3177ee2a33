import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  getNamedType,
  getOperationAST,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLSchema,
  isCompositeType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  type SelectionSetNode,
  valueFromASTUntyped,
} from 'graphql';
import type { Maybe } from 'graphql/jsutils/Maybe.js';

import { AppError } from '../../src/errors.ts';

/** Longest document, in lexical tokens: parsing stops there. */
export const MAX_TOKENS = 2_000;
/** Of selection sets within each other; the introspection query of the usual tools has 13. */
const MAX_DEPTH = 16;
/** Of an operation, its fragments spread out: what validation compares pair by pair, and what is executed. */
const MAX_FIELDS = 500;
const MAX_ALIASES = 30;
const MAX_DIRECTIVES = 50;
/** Entities that a gateway may ask for at once. */
const MAX_REPRESENTATIONS = 1_000;
/** Items of any list among the variables. */
const MAX_LIST_ITEMS = 10_000;
/** Of objects and lists within each other among the variables. */
const MAX_INPUT_DEPTH = 32;
/** Of an operation, in the units of `@cost` and `@listSize`: about one for each object that it may answer. */
const MAX_COST = 5_000;
/** For a list whose length the document leaves to a variable. */
const LONGEST_PAGE = 100;

/** @returns the first fragment of that name; that there are others is for validation to say. */
export function fragmentNamed(document: DocumentNode, name: string): FragmentDefinitionNode | undefined {
  return document.definitions.find(
    (definition) => definition.kind === Kind.FRAGMENT_DEFINITION && definition.name.value === name,
  ) as FragmentDefinitionNode | undefined;
}

const tooComplex = (message: string): AppError => new AppError('query_too_complex', message);

interface Shape {
  depth: number;
  fields: number;
  aliases: number;
  directives: number;
}

/**
 * Looks at a parsed document alone, before it is validated: validation compares fields in pairs, and a few fragments
 * that spread each other stand for any number of them.
 *
 * @throws `query_too_complex`, naming the limit.
 */
export function assertShape(document: DocumentNode): void {
  const known = new Map<string, Shape>();
  const spread = (name: string): Shape => {
    const before = known.get(name);
    if (before) return before;
    const none = { depth: 0, fields: 0, aliases: 0, directives: 0 };
    // Meanwhile: a fragment that holds itself is for validation to refuse.
    known.set(name, none);
    const fragment = fragmentNamed(document, name);
    const shape = fragment ? shapeOf(fragment.selectionSet) : none;
    known.set(name, shape);
    return shape;
  };
  const shapeOf = ({ selections }: SelectionSetNode): Shape => {
    const shape = { depth: 1, fields: 0, aliases: 0, directives: 0 };
    for (const selection of selections) {
      shape.directives += selection.directives?.length ?? 0;
      let inner: Shape | undefined;
      let below = 0;
      if (selection.kind === Kind.FIELD) {
        shape.fields += 1;
        if (selection.alias) shape.aliases += 1;
        if (selection.selectionSet) inner = shapeOf(selection.selectionSet);
        below = 1;
      } else {
        inner =
          selection.kind === Kind.INLINE_FRAGMENT ? shapeOf(selection.selectionSet) : spread(selection.name.value);
      }
      if (!inner) continue;
      shape.depth = Math.max(shape.depth, inner.depth + below);
      shape.fields += inner.fields;
      shape.aliases += inner.aliases;
      shape.directives += inner.directives;
    }
    return shape;
  };
  for (const definition of document.definitions) {
    if (definition.kind !== Kind.OPERATION_DEFINITION && definition.kind !== Kind.FRAGMENT_DEFINITION) continue;
    const { depth, fields, aliases, directives } =
      definition.kind === Kind.FRAGMENT_DEFINITION ? spread(definition.name.value) : shapeOf(definition.selectionSet);
    if (depth > MAX_DEPTH) throw tooComplex(`An operation may be ${MAX_DEPTH} levels deep at most.`);
    if (fields > MAX_FIELDS) throw tooComplex(`An operation may ask for ${MAX_FIELDS} fields at most.`);
    if (aliases > MAX_ALIASES) throw tooComplex(`An operation may use ${MAX_ALIASES} aliases at most.`);
    const all = directives + (definition.directives?.length ?? 0);
    if (all > MAX_DIRECTIVES) throw tooComplex(`An operation may use ${MAX_DIRECTIVES} directives at most.`);
  }
}

type Variables = Readonly<Record<string, unknown>>;

/** @throws `query_too_complex` where a variable is nested too deep, or holds a list that is too long. */
export function assertVariables(variables: Variables): void {
  const look = (value: unknown, name: string, depth: number): void => {
    if (typeof value !== 'object' || value === null) return;
    if (depth > MAX_INPUT_DEPTH) throw tooComplex(`$${name}: may be ${MAX_INPUT_DEPTH} levels deep at most.`);
    if (Array.isArray(value) && value.length > MAX_LIST_ITEMS) {
      throw tooComplex(`$${name}: a list may hold ${MAX_LIST_ITEMS} items at most.`);
    }
    for (const inner of Object.values(value)) look(inner, name, depth + 1);
  };
  for (const [name, value] of Object.entries(variables)) look(value, name, 1);
}

/** @throws `query_too_complex` where an operation of a valid document costs too much with these variables. */
export type AssertCost = (document: DocumentNode, operationName: string | undefined, variables: Variables) => void;

/**
 * The cost of an operation is worked out from `@cost` and `@listSize` of the schema, as gateways do it: a field costs
 * its weight (an object 1, a scalar nothing) and what is below it, as often as its list may be long.
 */
export function createCostLimit(schema: GraphQLSchema): AssertCost {
  /** Operations that are cheap enough whatever their variables say. */
  const cheap = new WeakMap<DocumentNode, Set<string>>();
  const rules = new WeakMap<GraphQLField<unknown, unknown>, FieldRule>();
  const ruleOf = (field: GraphQLField<unknown, unknown>): FieldRule => {
    const rule = rules.get(field) ?? readRule(field);
    rules.set(field, rule);
    return rule;
  };

  return (document, operationName = '', variables) => {
    const names = cheap.get(document) ?? new Set<string>();
    cheap.set(document, names);
    if (names.has(operationName)) return;
    const operation = getOperationAST(document, operationName || undefined);
    if (!operation) return;
    if (costOf(schema, document, operation, ruleOf, () => UNKNOWN) <= MAX_COST) {
      names.add(operationName);
      return;
    }
    const cost = costOf(schema, document, operation, ruleOf, (name) => {
      const declared = operation.variableDefinitions?.find(({ variable }) => variable.name.value === name);
      return variables[name] ?? (declared?.defaultValue && valueFromASTUntyped(declared.defaultValue));
    });
    if (cost <= MAX_COST) return;
    throw new AppError('query_too_complex', `The operation may cost ${MAX_COST} at most; this one costs ${cost}.`, {
      details: { cost, limit: MAX_COST },
    });
  };
}

/** A variable whose value is left open: the worst is assumed. */
const UNKNOWN = Symbol('unknown');

interface FieldRule {
  weight: number;
  /** It is one object that holds the list. */
  isPage: boolean;
  /** How often what is below the field may come. */
  sizeOf: (argument: (name: string) => unknown) => number;
}

function costOf(
  schema: GraphQLSchema,
  document: DocumentNode,
  operation: OperationDefinitionNode,
  ruleOf: (field: GraphQLField<unknown, unknown>) => FieldRule,
  variable: (name: string) => unknown,
): number {
  const sum = (type: Maybe<GraphQLNamedType>, { selections }: SelectionSetNode): number => {
    let cost = 0;
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD) cost += fieldCost(type, selection);
      else if (selection.kind === Kind.INLINE_FRAGMENT) {
        const { typeCondition } = selection;
        cost += sum(typeCondition ? schema.getType(typeCondition.name.value) : type, selection.selectionSet);
      } else {
        const fragment = fragmentNamed(document, selection.name.value);
        if (fragment) cost += sum(schema.getType(fragment.typeCondition.name.value), fragment.selectionSet);
      }
    }
    return cost;
  };
  const fieldCost = (type: Maybe<GraphQLNamedType>, { name, arguments: args, selectionSet }: FieldNode): number => {
    // What tells about the schema is bounded by its depth and its fields.
    const field = isObjectType(type) ? type.getFields()[name.value] : undefined;
    if (!field) return 0;
    const { weight, sizeOf, isPage } = ruleOf(field);
    const size = sizeOf((argument) => {
      const value = args?.find((one) => one.name.value === argument)?.value;
      if (value?.kind === Kind.VARIABLE) return variable(value.name.value);
      return value && valueFromASTUntyped(value);
    });
    const below = selectionSet ? sum(getNamedType(field.type), selectionSet) : 0;
    return isPage ? weight + size * below : size * (weight + below);
  };
  return sum(schema.getRootType(operation.operation), operation.selectionSet);
}

function readRule(field: GraphQLField<unknown, unknown>): FieldRule {
  const weight = directiveOf(field, 'cost')?.['weight'] ?? Number(isCompositeType(getNamedType(field.type)));
  const base = { weight: Number(weight), isPage: false };
  if (field.name === '_entities') return { ...base, sizeOf: representationCount };
  const { slicingArguments, assumedSize = 1 } = directiveOf(field, 'listSize') ?? {};
  if (!Array.isArray(slicingArguments)) return { ...base, sizeOf: () => Number(assumedSize) };
  const slices = field.args.filter(({ name }) => slicingArguments.includes(name));
  return {
    ...base,
    isPage: true,
    sizeOf: (argument) => {
      const given = slices.map(({ name }) => argument(name));
      if (given.includes(UNKNOWN)) return LONGEST_PAGE;
      const numbers = given.filter((value) => typeof value === 'number');
      const defaults = slices.map(({ defaultValue }) => Number(defaultValue ?? 0));
      return Math.min(LONGEST_PAGE, Math.max(0, ...(numbers.length > 0 ? numbers : defaults)));
    },
  };
}

function representationCount(argument: (name: string) => unknown): number {
  const representations = argument('representations');
  // Never taken for cheap, so that they are counted.
  if (representations === UNKNOWN) return MAX_COST + 1;
  const { length } = Array.isArray(representations) ? representations : [representations];
  if (length > MAX_REPRESENTATIONS) {
    throw tooComplex(`representations: a gateway may ask for ${MAX_REPRESENTATIONS} entities at once.`);
  }
  return length;
}

function directiveOf({ astNode }: GraphQLField<unknown, unknown>, name: string): Record<string, unknown> | undefined {
  const directive = astNode?.directives?.find((one) => one.name.value === name);
  return (
    directive &&
    Object.fromEntries((directive.arguments ?? []).map((one) => [one.name.value, valueFromASTUntyped(one.value)]))
  );
}
