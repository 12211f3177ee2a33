/**
 * The error codes of the public contract, and the HTTP status each one answers with.
 * A code is stable: clients switch on it, so it is never renamed, only added to.
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

export type ErrorCode = keyof typeof ERROR_STATUS;

/** One thing wrong with an input: where (`path`, dotted) and what. */
export interface FieldProblem {
  path: string;
  message: string;
  /** Within a text, from 1. */
  line?: number;
  /** Within its line, from 1. */
  column?: number;
}

export interface AppErrorOptions {
  /** Overrides the code's usual HTTP status, e.g. `invalid_token` is 400 when the token is no JWT at all. */
  status?: number;
  /** Machine-readable extras that are safe to show the caller, e.g. `required` or `fields`. */
  details?: Record<string, unknown>;
  cause?: unknown;
}

/** An error whose code and message may be shown to the caller. Anything else is answered as `internal`. */
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

  /** What goes with the message wherever an error is written as JSON by somebody else's code. */
  get extensions(): Record<string, unknown> {
    return { error_code: this.code, ...this.details };
  }
}

/** `validation_failed` that names each offending field. */
export function validationFailed(fields: FieldProblem[]): AppError {
  const summary = fields.map((field) => `${field.path}: ${field.message}`).join('; ');
  return new AppError('validation_failed', summary, { details: { fields } });
}
