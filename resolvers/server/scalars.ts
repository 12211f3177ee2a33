import { GraphQLDateTime, GraphQLJSON, GraphQLJSONObject } from 'graphql-scalars';

/** RFC 3339, always in UTC when we say it. */
export const DateTime = GraphQLDateTime;
/** A JSON object, as it is. */
export const JSONObject = GraphQLJSONObject;

/** Any JSON, as it is. */
export const JSONValue = GraphQLJSON;
