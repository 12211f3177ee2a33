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
  visit,
} from 'graphql';
import type { Maybe } from 'graphql/jsutils/Maybe.js';

import { AppError, validationFailed } from '../../src/errors.ts';
import { checkStorable } from '../../src/intake/storable.ts';

/** Maximum number of lexical tokens of a document. Parsing stops there. */
export const MAX_TOKENS = 2_000;
/** Maximum nesting depth of selection sets. The introspection query of common tools has 13 levels. */
const MAX_DEPTH = 16;
/**
 * Maximum number of fields with expanded fragments. Bounds validation, which compares fields in pairs, and execution.
 */
const MAX_FIELDS = 500;
const MAX_ALIASES = 30;
const MAX_DIRECTIVES = 50;
/** Maximum number of entities in one `_entities` request. */
const MAX_REPRESENTATIONS = 1_000;
/** Maximum number of items of a list in variables. */
const MAX_LIST_ITEMS = 10_000;
/** Maximum nesting depth of objects and lists in variables. */
const MAX_INPUT_DEPTH = 32;
/** Maximum cost of an operation according to `@cost` and `@listSize`: about 1 for each object in the result. */
const MAX_COST = 5_000;
/** Maximum page size. Assumed for a list whose length is an unknown variable. */
const MAX_PAGE = 100;

/** Returns the first fragment with this name. Validation reports duplicates. */
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
 * Checks the size of a parsed document before its validation, which compares fields in pairs and is slow for documents
 * whose fragments multiply each other.
 *
 * @throws `query_too_complex` with the exceeded limit; `validation_failed` for text that the database cannot store.
 */
export function assertShape(document: DocumentNode): void {
  visit(document, {
    StringValue: ({ value, loc }) => {
      const unstorable = checkStorable(value, `line ${loc?.startToken.line ?? 1}`);
      if (unstorable) throw validationFailed([unstorable]);
    },
  });
  const known = new Map<string, Shape>();
  const spread = (name: string): Shape => {
    const cached = known.get(name);
    if (cached) return cached;
    const empty = { depth: 0, fields: 0, aliases: 0, directives: 0 };
    // Prevents endless recursion for a fragment that contains itself, which validation refuses.
    known.set(name, empty);
    const fragment = fragmentNamed(document, name);
    const shape = fragment ? shapeOf(fragment.selectionSet) : empty;
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
    if (depth > MAX_DEPTH) throw tooComplex(`The operation is nested more than ${MAX_DEPTH} levels deep.`);
    if (fields > MAX_FIELDS) throw tooComplex(`The operation has more than ${MAX_FIELDS} fields.`);
    if (aliases > MAX_ALIASES) throw tooComplex(`The operation has more than ${MAX_ALIASES} aliases.`);
    const all = directives + (definition.directives?.length ?? 0);
    if (all > MAX_DIRECTIVES) throw tooComplex(`The operation has more than ${MAX_DIRECTIVES} directives.`);
  }
}

type Variables = Readonly<Record<string, unknown>>;

/**
 * @throws `query_too_complex` when a variable is nested too deeply or contains a list that is too long;
 * `validation_failed` when it contains text that the database cannot store.
 */
export function assertVariables(variables: Variables): void {
  const check = (value: unknown, name: string, depth: number): void => {
    if (typeof value !== 'object' || value === null) return;
    if (depth > MAX_INPUT_DEPTH) throw tooComplex(`$${name} is nested more than ${MAX_INPUT_DEPTH} levels deep.`);
    if (Array.isArray(value) && value.length > MAX_LIST_ITEMS) {
      throw tooComplex(`$${name} contains a list of more than ${MAX_LIST_ITEMS} items.`);
    }
    for (const inner of Object.values(value)) check(inner, name, depth + 1);
  };
  for (const [name, value] of Object.entries(variables)) check(value, name, 1);
  const unstorable = checkStorable(variables);
  if (unstorable) throw validationFailed([unstorable]);
}

/** @throws `query_too_complex` when the operation costs too much with these variables. */
export type AssertCost = (document: DocumentNode, operationName: string | undefined, variables: Variables) => void;

/**
 * Creates a function that estimates costs from `@cost` and `@listSize` in the schema, like gateways do. The cost of a
 * field is its weight (1 for an object, 0 for a scalar) plus the cost of its subfields, multiplied by the length of its
 * list.
 */
export function createCostLimit(schema: GraphQLSchema): AssertCost {
  /** Operations that are below the limit for all variables. */
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
    throw new AppError('query_too_complex', `The operation costs ${cost}, which exceeds the limit of ${MAX_COST}.`, {
      details: { cost, limit: MAX_COST },
    });
  };
}

/** Value of an unknown variable, for which the maximum cost is assumed. */
const UNKNOWN = Symbol('unknown');

interface FieldRule {
  weight: number;
  /** True when the field is one object that contains the list. */
  isPage: boolean;
  /** Returns the assumed length of the list. */
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
    // Introspection fields are limited by depth and number only.
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
      if (given.includes(UNKNOWN)) return MAX_PAGE;
      const numbers = given.filter((value) => typeof value === 'number');
      const defaults = slices.map(({ defaultValue }) => Number(defaultValue ?? 0));
      return Math.min(MAX_PAGE, Math.max(0, ...(numbers.length > 0 ? numbers : defaults)));
    },
  };
}

function representationCount(argument: (name: string) => unknown): number {
  const representations = argument('representations');
  // Above the limit, so that the operation is not cached as cheap and its representations are counted.
  if (representations === UNKNOWN) return MAX_COST + 1;
  const { length } = Array.isArray(representations) ? representations : [representations];
  if (length > MAX_REPRESENTATIONS) {
    throw tooComplex(`\`representations\` has more than ${MAX_REPRESENTATIONS} items.`);
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
