import { type ApolloServerPlugin, type GraphQLResponse, HeaderMap } from '@apollo/server';
import type { GraphQLFormattedError } from 'graphql';

import type { GraphContext } from '../context.ts';
import { asGraphQLError, type FormatError, statusOf } from '../errors.ts';

/** Header with the trace id. Missing when Apollo Server refused the request before our plugins ran. */
export const TRACE_HEADER = 'x-trace-id';

/**
 * Formats errors for the caller and sets the HTTP status: a request that failed as a whole has the status of its first
 * error.
 */
export const errorFormatPlugin = (formatError: FormatError): ApolloServerPlugin<GraphContext> => ({
  requestDidStart: async () => ({
    willSendResponse: async ({ errors: encountered, response: { http, body }, contextValue: { traceId } }) => {
      http.headers.set(TRACE_HEADER, traceId);
      if (body.kind !== 'single') return;
      const result = body.singleResult;
      const errors = encountered ?? result.errors;
      if (!errors) return;
      result.errors = errors.map((error) => formatError(error, traceId));
      const isWhole = !result.data || Object.values(result.data).every((value) => value === null);
      if (!isWhole) http.status = 200;
      else if (http.status !== 405) http.status = statusOf(result.errors[0] as GraphQLFormattedError);
    },
  }),
});

/** Creates an error response that replaces the execution. `errorFormatPlugin` formats it. */
export const refusal = (error: unknown): GraphQLResponse => ({
  http: { headers: new HeaderMap() },
  body: { kind: 'single', singleResult: { errors: [asGraphQLError(error) as GraphQLFormattedError] } },
});
