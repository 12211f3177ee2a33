import { GraphQLError, type GraphQLFormattedError } from 'graphql';

import { isDatabaseUnavailable } from '../../src/database/errors.ts';
import { AppError, ERROR_STATUS, type ErrorCode } from '../../src/errors.ts';
import type { Log } from '../../src/log.ts';

/** Values of `extensions.code`, as GraphQL clients know them. `extensions.error_code` contains our own code. */
const GRAPHQL_CODES: Record<ErrorCode, string> = {
  unauthenticated: 'UNAUTHENTICATED',
  token_expired: 'UNAUTHENTICATED',
  token_revoked: 'UNAUTHENTICATED',
  invalid_token: 'UNAUTHENTICATED',
  identity_unavailable: 'SERVICE_UNAVAILABLE',
  tenant_mismatch: 'FORBIDDEN',
  permission_denied: 'FORBIDDEN',
  validation_failed: 'BAD_USER_INPUT',
  not_found: 'NOT_FOUND',
  conflict: 'CONFLICT',
  operation_not_trusted: 'FORBIDDEN',
  query_too_complex: 'BAD_USER_INPUT',
  rate_limited: 'TOO_MANY_REQUESTS',
  payload_too_large: 'BAD_USER_INPUT',
  unsupported_media_type: 'BAD_USER_INPUT',
  slow_consumer: 'SERVICE_UNAVAILABLE',
  unavailable: 'SERVICE_UNAVAILABLE',
  internal: 'INTERNAL_SERVER_ERROR',
};

/** Codes of errors that graphql-js and Apollo Server report about a request. */
const REQUEST_ERRORS = new Set([
  'GRAPHQL_PARSE_FAILED',
  'GRAPHQL_VALIDATION_FAILED',
  'BAD_USER_INPUT',
  'BAD_REQUEST',
  'OPERATION_RESOLUTION_FAILURE',
  'PERSISTED_QUERY_NOT_FOUND',
  'PERSISTED_QUERY_NOT_SUPPORTED',
]);

const SUGGESTION = / ?Did you mean .+\?$/s;

/** Formats an error for the caller. */
export type FormatError = (error: unknown, traceId: string) => GraphQLFormattedError;

export interface ErrorOptions {
  log: Log;
  /** If false, suggestions such as "Did you mean …?" are removed, because they reveal parts of the schema. */
  isSchemaOpen: boolean;
}

/** Returns a formatter that logs unexpected errors and shows them to the caller as `internal`. */
export const errorFormatter =
  ({ log, isSchemaOpen }: ErrorOptions): FormatError =>
  (error, traceId) => {
    const original = error instanceof GraphQLError ? (error.originalError ?? error) : error;
    const graphQLError = error instanceof GraphQLError ? error : undefined;
    const location = {
      ...(graphQLError?.locations ? { locations: graphQLError.locations } : {}),
      ...(graphQLError?.path ? { path: graphQLError.path } : {}),
    };
    if (original instanceof AppError && original.code !== 'internal') {
      return {
        message: original.message,
        ...location,
        extensions: {
          code: GRAPHQL_CODES[original.code],
          error_code: original.code,
          trace_id: traceId,
          ...original.details,
        },
      };
    }
    if (graphQLError && isRequestError(graphQLError)) {
      const code = graphQLError.extensions['code'] ?? 'BAD_USER_INPUT';
      return {
        message: isSchemaOpen ? graphQLError.message : graphQLError.message.replace(SUGGESTION, ''),
        ...location,
        extensions: { code, error_code: 'validation_failed', trace_id: traceId },
      };
    }
    log.error({ error: original, trace_id: traceId, path: graphQLError?.path }, 'operation failed');
    if (isDatabaseUnavailable(original)) {
      return {
        message: 'The database is unavailable. Try again later.',
        ...location,
        extensions: { code: GRAPHQL_CODES.unavailable, error_code: 'unavailable', trace_id: traceId },
      };
    }
    return {
      message: 'Internal error. The server log contains the details under this trace_id.',
      ...location,
      extensions: { code: GRAPHQL_CODES.internal, error_code: 'internal', trace_id: traceId },
    };
  };

/**
 * Returns true for an error in the request. Errors of graphql-js have no code. Those about the request refer to a node
 * of its document; those about the result of a resolver do not.
 */
function isRequestError({ extensions: { code }, originalError, path }: GraphQLError): boolean {
  if (typeof code === 'string') return REQUEST_ERRORS.has(code);
  if (path === undefined) return originalError === undefined || originalError instanceof GraphQLError;
  return originalError instanceof GraphQLError && originalError.nodes !== undefined;
}

/** Returns the HTTP status of a formatted error. */
export function statusOf(error: GraphQLFormattedError): number {
  const code = error.extensions?.['error_code'];
  return typeof code === 'string' && code in ERROR_STATUS ? ERROR_STATUS[code as ErrorCode] : 500;
}

/** Wraps an error of a rule so that graphql-js and Apollo Server can carry it. */
export const asGraphQLError = (error: unknown): GraphQLError =>
  error instanceof GraphQLError ? error : new GraphQLError((error as Error).message, { originalError: error as Error });
