import { SealError, type SealErrorCode } from './seal.ts';

/** An error of a GraphQL response. */
export interface GraphQLFailure {
  readonly message: string;
  readonly extensions?: Readonly<Record<string, unknown>>;
}

/** A failure that ends a subscription and that a retry cannot solve. */
export class StreamError extends Error {
  /** `error_code` of the first error, or the reason with which the connection was closed. */
  readonly code: string;
  /** Errors of the GraphQL response; empty when the connection itself was refused. */
  readonly errors: readonly GraphQLFailure[];

  constructor(code: string, message: string, errors: readonly GraphQLFailure[] = []) {
    super(message);
    this.name = 'StreamError';
    this.code = code;
    this.errors = errors;
  }
}

/** Values of `error_code` after which a retry of the operation may succeed. */
const PASSING_ERRORS = new Set<unknown>([
  'slow_consumer',
  'unavailable',
  'identity_unavailable',
  'rate_limited',
  'token_expired',
  'internal',
]);

/** Errors of a connection that a new connection can solve, because it has new keys. */
const PASSING_SEAL_ERRORS = new Set<string>(['frame_refused', 'key_spent', 'invalid_key'] satisfies SealErrorCode[]);

/** Close codes after which a new connection would fail again. 4403 is not one: it asks for a new token. */
const FINAL_CLOSE_CODES = new Set([4004, 4005, 4401, 4406, 4409, 4429]);
const BAD_REQUEST = 4400;

/** Returns true when a retry cannot succeed, and false for unknown failures. */
export function isFinal(failure: unknown): boolean {
  if (isErrors(failure)) return failure.some(({ extensions }) => !PASSING_ERRORS.has(extensions?.['error_code']));
  if (failure instanceof SealError) return !PASSING_SEAL_ERRORS.has(failure.code);
  if (isClose(failure)) {
    if (failure.code === BAD_REQUEST) return !PASSING_SEAL_ERRORS.has(failure.reason);
    return FINAL_CLOSE_CODES.has(failure.code);
  }
  return false;
}

/** Converts a failure to an `Error`. */
export function toError(failure: unknown): Error {
  if (failure instanceof Error) return failure;
  if (isErrors(failure)) {
    const code = failure[0]?.extensions?.['error_code'];
    const message = failure.map((error) => error.message).join('; ');
    return new StreamError(typeof code === 'string' ? code : 'graphql_error', message, failure);
  }
  if (isClose(failure)) {
    return new StreamError(
      failure.reason || 'closed',
      `connection closed with ${failure.code} ${failure.reason}`.trim(),
    );
  }
  return new StreamError('unknown', String(failure));
}

const isErrors = (failure: unknown): failure is GraphQLFailure[] => Array.isArray(failure);

const isClose = (failure: unknown): failure is { code: number; reason: string } =>
  typeof failure === 'object' &&
  failure !== null &&
  typeof (failure as { code?: unknown }).code === 'number' &&
  typeof (failure as { reason?: unknown }).reason === 'string';
