import { GraphQLError, type GraphQLFormattedError } from 'graphql';

import { AppError, ERROR_STATUS, type ErrorCode } from '../src/errors.ts';
import type { Log } from '../src/log.ts';

/** `extensions.code`, in the words that GraphQL clients know. `extensions.error_code` is the contract's own. */
const GRAPHQL_CODES: Record<ErrorCode, string> = {
  unauthenticated: 'UNAUTHENTICATED',
  token_expired: 'UNAUTHENTICATED',
  invalid_token: 'UNAUTHENTICATED',
  identity_unavailable: 'SERVICE_UNAVAILABLE',
  tenant_mismatch: 'FORBIDDEN',
  permission_denied: 'FORBIDDEN',
  validation_failed: 'BAD_USER_INPUT',
  not_found: 'NOT_FOUND',
  conflict: 'CONFLICT',
  query_too_complex: 'BAD_USER_INPUT',
  rate_limited: 'TOO_MANY_REQUESTS',
  payload_too_large: 'BAD_USER_INPUT',
  unsupported_media_type: 'BAD_USER_INPUT',
  slow_consumer: 'SERVICE_UNAVAILABLE',
  unavailable: 'SERVICE_UNAVAILABLE',
  internal: 'INTERNAL_SERVER_ERROR',
};

/** What graphql-js and Apollo find wrong with a request before any of our code runs. */
const REQUEST_ERRORS = new Set([
  'GRAPHQL_PARSE_FAILED',
  'GRAPHQL_VALIDATION_FAILED',
  'BAD_USER_INPUT',
  'BAD_REQUEST',
  'OPERATION_RESOLUTION_FAILURE',
  'PERSISTED_QUERY_NOT_FOUND',
  'PERSISTED_QUERY_NOT_SUPPORTED',
]);

/** An error as the caller sees it. Whatever is not ours to show becomes `internal`; its details are in our log. */
export function formatError(error: unknown, traceId: string, log: Log): GraphQLFormattedError {
  const original = error instanceof GraphQLError ? (error.originalError ?? error) : error;
  const graphQLError = error instanceof GraphQLError ? error : undefined;
  const place = {
    ...(graphQLError?.locations ? { locations: graphQLError.locations } : {}),
    ...(graphQLError?.path ? { path: graphQLError.path } : {}),
  };
  if (original instanceof AppError && original.code !== 'internal') {
    return {
      message: original.message,
      ...place,
      extensions: {
        code: GRAPHQL_CODES[original.code],
        error_code: original.code,
        trace_id: traceId,
        ...original.details,
      },
    };
  }
  const code = graphQLError?.extensions['code'];
  const isRequestError = typeof code === 'string' ? REQUEST_ERRORS.has(code) : isRaisedByGraphQL(original);
  if (graphQLError && isRequestError) {
    return {
      message: graphQLError.message,
      ...place,
      extensions: { code: code ?? 'BAD_USER_INPUT', error_code: 'validation_failed', trace_id: traceId },
    };
  }
  log.error({ error: original, trace_id: traceId, path: graphQLError?.path }, 'operation failed');
  return {
    message: 'Something went wrong on our side. The trace_id finds it in our log.',
    ...place,
    extensions: { code: GRAPHQL_CODES.internal, error_code: 'internal', trace_id: traceId },
  };
}

/** graphql-js's own complaints carry no code and no original error, e.g. about a variable of the wrong type. */
const isRaisedByGraphQL = (error: unknown): boolean => error instanceof GraphQLError && error.path === undefined;

/** The HTTP status of an error as the caller sees it. */
export function statusOf(error: GraphQLFormattedError): number {
  const code = error.extensions?.['error_code'];
  return typeof code === 'string' && code in ERROR_STATUS ? ERROR_STATUS[code as ErrorCode] : 500;
}
