import { SealError, type SealErrorCode } from './seal.ts';

/** An error as GraphQL answers carry it. */
export interface GraphQLFailure {
  readonly message: string;
  readonly extensions?: Readonly<Record<string, unknown>>;
}

/** Why a subscription is over for good. */
export class StreamError extends Error {
  /** `error_code` of the first error, or the reason with which the connection was closed. */
  readonly code: string;
  /** What the server answered; empty when the connection itself was refused. */
  readonly errors: readonly GraphQLFailure[];

  constructor(code: string, message: string, errors: readonly GraphQLFailure[] = []) {
    super(message);
    this.name = 'StreamError';
    this.code = code;
    this.errors = errors;
  }
}

/** Errors of an operation after which the same operation may well succeed. */
const PASSING_ERRORS = new Set<unknown>([
  'slow_consumer',
  'unavailable',
  'identity_unavailable',
  'rate_limited',
  'token_expired',
  'internal',
]);

/** Failures of a connection that a new connection, with its new keys, does not have. */
const PASSING_SEAL_ERRORS = new Set<string>(['frame_refused', 'key_spent', 'invalid_key'] satisfies SealErrorCode[]);

/** How a server closes for good, and a client that does not understand it: 4403, for one, asks for a new token. */
const FINAL_CLOSE_CODES = new Set([4004, 4005, 4401, 4406, 4409, 4429]);
const BAD_REQUEST = 4400;

/** Whether trying again is of no use. What is not known is worth another try. */
export function isFinal(failure: unknown): boolean {
  if (isErrors(failure)) return failure.some(({ extensions }) => !PASSING_ERRORS.has(extensions?.['error_code']));
  if (failure instanceof SealError) return !PASSING_SEAL_ERRORS.has(failure.code);
  if (isClose(failure)) {
    if (failure.code === BAD_REQUEST) return !PASSING_SEAL_ERRORS.has(failure.reason);
    return FINAL_CLOSE_CODES.has(failure.code);
  }
  return false;
}

/** A failure that {@link isFinal} as something to throw. */
export function toError(failure: unknown): Error {
  if (failure instanceof Error) return failure;
  if (isErrors(failure)) {
    const code = failure[0]?.extensions?.['error_code'];
    const message = failure.map((error) => error.message).join('; ');
    return new StreamError(typeof code === 'string' ? code : 'graphql_error', message, failure);
  }
  if (isClose(failure)) {
    return new StreamError(failure.reason || 'closed', `closed with ${failure.code} ${failure.reason}`.trim());
  }
  return new StreamError('unknown', String(failure));
}

const isErrors = (failure: unknown): failure is GraphQLFailure[] => Array.isArray(failure);

const isClose = (failure: unknown): failure is { code: number; reason: string } =>
  typeof failure === 'object' &&
  failure !== null &&
  typeof (failure as { code?: unknown }).code === 'number' &&
  typeof (failure as { reason?: unknown }).reason === 'string';
