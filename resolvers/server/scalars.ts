import { GraphQLScalarType } from 'graphql';
import { GraphQLDateTime, GraphQLJSON, GraphQLJSONObject } from 'graphql-scalars';

/**
 * RFC 3339 timestamp. Output is always in UTC, as a string: `JSON.stringify` takes five times as long for a result with
 * `Date` objects.
 */
export const DateTime = new GraphQLScalarType<Date, string>({
  ...GraphQLDateTime.toConfig(),
  serialize: (value) => GraphQLDateTime.serialize(value).toISOString(),
});
/** JSON object. */
export const JSONObject = GraphQLJSONObject;

/** Any JSON value. */
export const JSONValue = GraphQLJSON;
