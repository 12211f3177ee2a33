import { GraphQLError, type GraphQLFormattedError } from 'graphql';

import { isDatabaseUnavailable } from '../../src/database/errors.ts';
import { AppError, ERROR_STATUS, type ErrorCode } from '../../src/errors.ts';
import type { Log } from '../../src/log.ts';

/** `extensions.code`, in the words that GraphQL clients know. `extensions.error_code` is the contract's own. */
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

const SUGGESTION = / ?Did you mean .+\?$/s;

/** Makes an error what the caller may see of it. */
export type FormatError = (error: unknown, traceId: string) => GraphQLFormattedError;

export interface ErrorOptions {
  log: Log;
  /** Otherwise an error does not guess at what the caller meant: the guess is a part of the schema. */
  isSchemaOpen: boolean;
}

/** Whatever is not ours to show becomes `internal`; its details are in our log. */
export const errorFormatter =
  ({ log, isSchemaOpen }: ErrorOptions): FormatError =>
  (error, traceId) => {
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
    if (graphQLError && isRequestError(graphQLError)) {
      const code = graphQLError.extensions['code'] ?? 'BAD_USER_INPUT';
      return {
        message: isSchemaOpen ? graphQLError.message : graphQLError.message.replace(SUGGESTION, ''),
        ...place,
        extensions: { code, error_code: 'validation_failed', trace_id: traceId },
      };
    }
    log.error({ error: original, trace_id: traceId, path: graphQLError?.path }, 'operation failed');
    if (isDatabaseUnavailable(original)) {
      return {
        message: 'The database cannot be reached. Send the operation again later.',
        ...place,
        extensions: { code: GRAPHQL_CODES.unavailable, error_code: 'unavailable', trace_id: traceId },
      };
    }
    return {
      message: 'Something went wrong on our side. The trace_id finds it in our log.',
      ...place,
      extensions: { code: GRAPHQL_CODES.internal, error_code: 'internal', trace_id: traceId },
    };
  };

/**
 * graphql-js's own complaints carry no code. Those about a request point into its document; those about what a resolver
 * gave back do not, and are our fault.
 */
function isRequestError({ extensions: { code }, originalError, path }: GraphQLError): boolean {
  if (typeof code === 'string') return REQUEST_ERRORS.has(code);
  if (path === undefined) return originalError === undefined || originalError instanceof GraphQLError;
  return originalError instanceof GraphQLError && originalError.nodes !== undefined;
}

/** The HTTP status of an error as the caller sees it. */
export function statusOf(error: GraphQLFormattedError): number {
  const code = error.extensions?.['error_code'];
  return typeof code === 'string' && code in ERROR_STATUS ? ERROR_STATUS[code as ErrorCode] : 500;
}

/** Wraps an error of a rule so that graphql-js and Apollo Server can carry it. */
export const asGraphQLError = (error: unknown): GraphQLError =>
  error instanceof GraphQLError ? error : new GraphQLError((error as Error).message, { originalError: error as Error });
