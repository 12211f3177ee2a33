/**
 * Public error codes and their HTTP status. Codes are stable, because clients switch on them: add new ones, never
 * rename.
 */
export const ERROR_STATUS = {
  unauthenticated: 401,
  token_expired: 401,
  token_revoked: 401,
  invalid_token: 401,
  identity_unavailable: 503,
  tenant_mismatch: 403,
  permission_denied: 403,
  validation_failed: 400,
  not_found: 404,
  conflict: 409,
  operation_not_trusted: 403,
  query_too_complex: 400,
  rate_limited: 429,
  payload_too_large: 413,
  unsupported_media_type: 415,
  slow_consumer: 503,
  unavailable: 503,
  internal: 500,
} as const;

/** `Retry-After` of every response with status 503, in seconds. */
export const RETRY_AFTER_S = '5';

export type ErrorCode = keyof typeof ERROR_STATUS;

/** One problem of an input. `path` is dotted, e.g. `input.config.host`. */
export interface FieldProblem {
  path: string;
  message: string;
  /** Line within a text field, starting at 1. */
  line?: number;
  /** Column, starting at 1. */
  column?: number;
}

export interface AppErrorOptions {
  /** Overrides the HTTP status of the code, e.g. 400 for `invalid_token` when the token is not a JWT. */
  status?: number;
  /** Additional data that may be shown to the caller, e.g. `required` or `fields`. */
  details?: Record<string, unknown>;
  cause?: unknown;
}

/** An error whose code and message may be shown to the caller. Every other error is shown as `internal`. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly details: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.status = options.status ?? ERROR_STATUS[code];
    this.details = options.details ?? {};
  }

  /** `extensions` of the GraphQL error. */
  get extensions(): Record<string, unknown> {
    return { error_code: this.code, ...this.details };
  }
}

/** Creates a `validation_failed` error that lists every invalid field. */
export function validationFailed(fields: FieldProblem[]): AppError {
  const summary = fields.map((field) => `${field.path}: ${field.message}`).join('; ');
  return new AppError('validation_failed', summary, { details: { fields } });
}
