import { GraphQLDateTime, GraphQLJSON, GraphQLJSONObject } from 'graphql-scalars';

/** RFC 3339 timestamp. Output is always in UTC. */
export const DateTime = GraphQLDateTime;
/** JSON object. */
export const JSONObject = GraphQLJSONObject;

/** Any JSON value. */
export const JSONValue = GraphQLJSON;
