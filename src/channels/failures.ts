import type { SendFailure } from './send-result.ts';

/** A failure without its code and message. */
export type FailureClass = Pick<SendFailure, 'outcome' | 'blames' | 'suppress'>;

export const busy: FailureClass = { outcome: 'transient', blames: 'provider' };
export const refused: FailureClass = { outcome: 'permanent', blames: 'provider' };
export const badMessage: FailureClass = { outcome: 'permanent', blames: 'message' };
const badRecipient: FailureClass = { outcome: 'permanent', blames: 'recipient' };
const noSuchRecipient: FailureClass = { ...badRecipient, suppress: 'hard_bounce' };
/** The message was sent and no answer came, so it may have been delivered. */
export const inDoubt: FailureClass = { outcome: 'unknown', blames: 'provider' };

/**
 * Classifies the codes of SMTP (RFC 5321; enhanced codes: RFC 3463), of HTTP (RFC 9110) and of sockets. The most
 * specific code decides.
 */
export const FAILURES = {
  smtpEnhanced: {
    '4.2.1': { outcome: 'transient', blames: 'recipient' },
    '4.2.2': { outcome: 'transient', blames: 'recipient' },
    '4.7.1': { outcome: 'transient', blames: 'recipient' },
    '5.1.0': badRecipient,
    '5.1.1': noSuchRecipient,
    '5.1.2': noSuchRecipient,
    '5.1.3': noSuchRecipient,
    '5.1.6': noSuchRecipient,
    '5.1.7': refused,
    '5.1.8': refused,
    '5.1.10': noSuchRecipient,
    '5.2.1': noSuchRecipient,
    '5.2.2': badRecipient,
    '5.2.3': badMessage,
    '5.3.4': badMessage,
    '5.4.1': badRecipient,
    '5.5.4': badMessage,
    '5.6.0': badMessage,
    '5.7.0': refused,
    '5.7.1': refused,
    '5.7.8': refused,
    '5.7.26': refused,
  },
  smtp: {
    421: busy,
    450: { outcome: 'transient', blames: 'recipient' },
    451: { outcome: 'transient', blames: 'recipient' },
    452: busy,
    454: busy,
    500: badMessage,
    501: badMessage,
    502: refused,
    503: refused,
    504: refused,
    521: refused,
    530: refused,
    534: refused,
    535: refused,
    538: refused,
    550: badRecipient,
    551: badRecipient,
    552: badRecipient,
    553: badRecipient,
    554: badMessage,
    555: badMessage,
    556: noSuchRecipient,
  },
  http: {
    400: badMessage,
    401: refused,
    402: refused,
    403: refused,
    404: refused,
    405: refused,
    406: refused,
    407: refused,
    408: busy,
    409: badMessage,
    410: refused,
    411: refused,
    413: badMessage,
    414: badMessage,
    415: badMessage,
    422: badMessage,
    423: busy,
    425: busy,
    429: busy,
    431: badMessage,
    501: refused,
    505: refused,
  },
  socket: {
    // The message was not sent.
    EFORBIDDEN: refused,
    EAI_AGAIN: busy,
    ECONNREFUSED: busy,
    EDNS: busy,
    EHOSTUNREACH: busy,
    ENETUNREACH: busy,
    ENOTFOUND: busy,
    ETLS: busy,
    EPROTOCOL: busy,
    EMAXLIMIT: busy,
    UND_ERR_CONNECT_TIMEOUT: busy,
    CERT_HAS_EXPIRED: busy,
    DEPTH_ZERO_SELF_SIGNED_CERT: busy,
    ERR_TLS_CERT_ALTNAME_INVALID: busy,
    SELF_SIGNED_CERT_IN_CHAIN: busy,
    UNABLE_TO_VERIFY_LEAF_SIGNATURE: busy,
    EAUTH: refused,
    ENOAUTH: refused,
    EENVELOPE: badMessage,
    EMESSAGE: badMessage,
    // The message may have been sent.
    ECONNRESET: inDoubt,
    EPIPE: inDoubt,
    ETIMEDOUT: inDoubt,
    UND_ERR_ABORTED: inDoubt,
    UND_ERR_BODY_TIMEOUT: inDoubt,
    UND_ERR_HEADERS_TIMEOUT: inDoubt,
    UND_ERR_RES_EXCEEDED_MAX_SIZE: inDoubt,
    UND_ERR_SOCKET: inDoubt,
  },
} as const satisfies Record<string, Record<string, FailureClass>>;

/** Returns the class of a code; undefined when the table does not contain it. */
export const find = (
  table: Record<string, FailureClass>,
  code: string | number | undefined,
): FailureClass | undefined => (code === undefined ? undefined : table[code]);

/** Classifies an HTTP status other than success when the provider's own error code does not. */
export function classifyHttpStatus(status: number, retryAfter: string | undefined, now = Date.now()): SendFailure {
  const known = find(FAILURES.http, status) ?? (status >= 500 ? busy : status >= 400 ? badMessage : refused);
  const retryAfterMs = known.outcome === 'transient' ? parseRetryAfter(retryAfter, now) : undefined;
  return {
    ...known,
    errorCode: `http_${status}`,
    errorMessage:
      status >= 300 && status < 400
        ? `The provider answered with a redirect (${status}). Redirects are not followed.`
        : `The provider answered ${status}.`,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  };
}

/** Classifies a request that received no HTTP response. */
export function classifyHttpError(error: unknown): SendFailure {
  const code = codeOf(error);
  if (code === 'EFORBIDDEN') {
    const errorMessage =
      'The host of the provider is not public. Use a public host, or ask the operator to allow this one.';
    return { ...refused, errorCode: 'outbound_forbidden', errorMessage };
  }
  return {
    ...(find(FAILURES.socket, code) ?? inDoubt),
    errorCode: `http_${(code ?? 'unknown').toLowerCase()}`,
    errorMessage: `The provider did not answer (${code ?? 'unknown'}).`,
  };
}

/** Returns the code of an error, of its cause, or of the first error of an AggregateError. */
function codeOf(error: unknown): string | undefined {
  if (error instanceof Error && error.name === 'TimeoutError') return 'ETIMEDOUT';
  const { code, cause } = error as { code?: unknown; cause?: unknown };
  if (typeof code === 'string') return code;
  const first = error instanceof AggregateError ? (error.errors[0] as unknown) : cause;
  return first === undefined || first === null ? undefined : codeOf(first);
}

/** Parses `Retry-After`, given in seconds or as an HTTP date. @returns milliseconds; undefined when it is invalid. */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1_000;
  const date = /[A-Za-z]/.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
