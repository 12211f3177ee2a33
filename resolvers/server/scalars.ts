import { GraphQLError, GraphQLScalarType, Kind, print, type ValueNode } from 'graphql';
import { GraphQLDateTime, GraphQLJSON, GraphQLJSONObject } from 'graphql-scalars';

import { exactNumber, isExactNumber } from '../../src/exact-json.ts';
import { parseDateTime } from '../../src/time.ts';

function asTime(value: unknown): Date {
  const time = value instanceof Date ? value : typeof value === 'string' ? parseDateTime(value) : undefined;
  if (time) return time;
  throw new GraphQLError(
    `DateTime cannot represent ${JSON.stringify(value)}. Use RFC 3339, e.g. 2026-02-28T10:00:00Z.`,
  );
}

/**
 * RFC 3339 timestamp. Output is always in UTC, as a string: `JSON.stringify` takes five times as long for a result with
 * `Date` objects.
 */
export const DateTime = new GraphQLScalarType<Date, string>({
  ...GraphQLDateTime.toConfig(),
  serialize: (value) => GraphQLDateTime.serialize(value).toISOString(),
  parseValue: asTime,
  parseLiteral: (node) => asTime('value' in node && node.kind === Kind.STRING ? node.value : print(node)),
});

type Values = Record<string, unknown>;

function asObject(value: unknown): Values {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || isExactNumber(value)) {
    throw new GraphQLError('JSONObject cannot represent a value that is not an object.');
  }
  return value as Values;
}

/** Reads a JSON value from a document. Numbers keep all digits, see `exact-json.ts`. */
function fromLiteral(node: ValueNode, variables: Values | null | undefined): unknown {
  switch (node.kind) {
    case Kind.INT:
    case Kind.FLOAT:
      return exactNumber(node.value);
    case Kind.LIST:
      return node.values.map((item) => fromLiteral(item, variables));
    case Kind.OBJECT: {
      const value = Object.create(null) as Values;
      for (const { name, value: inner } of node.fields) value[name.value] = fromLiteral(inner, variables);
      return value;
    }
    case Kind.NULL:
      return null;
    case Kind.VARIABLE:
      return variables?.[node.name.value];
    case Kind.STRING:
    case Kind.BOOLEAN:
      return node.value;
    case Kind.ENUM:
      throw new GraphQLError(`JSON cannot represent ${print(node)}. Put strings in quotes.`, { nodes: node });
  }
}

/** JSON object. */
export const JSONObject = new GraphQLScalarType<Values, Values>({
  ...GraphQLJSONObject.toConfig(),
  serialize: asObject,
  parseValue: asObject,
  parseLiteral: (node, variables) => asObject(fromLiteral(node, variables)),
});

/** Any JSON value. */
export const JSONValue = new GraphQLScalarType<unknown, unknown>({
  ...GraphQLJSON.toConfig(),
  parseLiteral: fromLiteral,
});
