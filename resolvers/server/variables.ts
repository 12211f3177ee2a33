import {
  type DocumentNode,
  getNamedType,
  getOperationAST,
  type GraphQLInputType,
  type GraphQLSchema,
  isInputObjectType,
  typeFromAST,
} from 'graphql';

import { isExactNumber, roundNumbers } from '../../src/exact-json.ts';

type Variables = Record<string, unknown>;

/** Scalars whose values are JSON, with all digits. */
const JSON_SCALARS: ReadonlySet<string> = new Set(['JSON', 'JSONObject']);

/**
 * Replaces the exact numbers of variables by what the scalars of the schema expect: by JavaScript numbers, and for an ID by
 * its digits. Values of JSON scalars keep them. Returns the same object when there is none.
 */
export function roundVariables(
  schema: GraphQLSchema,
  document: DocumentNode,
  operationName: string | null | undefined,
  variables: Variables,
): Variables {
  if (roundNumbers(variables) === variables) return variables;
  const types = new Map(
    getOperationAST(document, operationName)?.variableDefinitions?.map(({ variable, type }) => [
      variable.name.value,
      typeFromAST(schema, type) as GraphQLInputType | undefined,
    ]),
  );
  return Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, round(value, types.get(name))]));
}

function round(value: unknown, type: GraphQLInputType | undefined): unknown {
  if (type === undefined) return roundNumbers(value);
  const named = getNamedType(type);
  if (JSON_SCALARS.has(named.name)) return value;
  if (Array.isArray(value)) return value.map((item) => round(item, type));
  if (isExactNumber(value)) {
    const isDigits = named.name === 'ID' && /^-?\d+$/.test(value.rawJSON);
    return isDigits ? value.rawJSON : Number(value.rawJSON);
  }
  if (!isInputObjectType(named) || typeof value !== 'object' || value === null) return value;
  const fields = named.getFields();
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name,
      round(inner, Object.hasOwn(fields, name) ? fields[name]?.type : undefined),
    ]),
  );
}
