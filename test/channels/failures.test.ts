import { describe, expect, it } from 'vitest';

import { classifyHttpError, classifyHttpStatus, FAILURES, parseRetryAfter } from '../../src/channels/failures.ts';
import { classifySmtpError } from '../../src/channels/smtp-failures.ts';

const fail = (fields: object): Error => Object.assign(new Error('relay’s own words about anna@example.com'), fields);

/** Returns e.g. `transient provider`, plus the suppression reason if there is one. */
const smtpEnhanced: Record<keyof (typeof FAILURES)['smtpEnhanced'], string> = {
  '4.2.1': 'transient recipient',
  '4.2.2': 'transient recipient',
  '4.7.1': 'transient recipient',
  '5.1.0': 'permanent recipient',
  '5.1.1': 'permanent recipient hard_bounce',
  '5.1.2': 'permanent recipient hard_bounce',
  '5.1.3': 'permanent recipient hard_bounce',
  '5.1.6': 'permanent recipient hard_bounce',
  '5.1.7': 'permanent provider',
  '5.1.8': 'permanent provider',
  '5.1.10': 'permanent recipient hard_bounce',
  '5.2.1': 'permanent recipient hard_bounce',
  '5.2.2': 'permanent recipient',
  '5.2.3': 'permanent message',
  '5.3.4': 'permanent message',
  '5.4.1': 'permanent recipient',
  '5.5.4': 'permanent message',
  '5.6.0': 'permanent message',
  '5.7.0': 'permanent provider',
  '5.7.1': 'permanent provider',
  '5.7.8': 'permanent provider',
  '5.7.26': 'permanent provider',
};
const smtp: Record<keyof (typeof FAILURES)['smtp'], string> = {
  421: 'transient provider',
  450: 'transient recipient',
  451: 'transient recipient',
  452: 'transient provider',
  454: 'transient provider',
  500: 'permanent message',
  501: 'permanent message',
  502: 'permanent provider',
  503: 'permanent provider',
  504: 'permanent provider',
  521: 'permanent provider',
  530: 'permanent provider',
  534: 'permanent provider',
  535: 'permanent provider',
  538: 'permanent provider',
  550: 'permanent recipient',
  551: 'permanent recipient',
  552: 'permanent recipient',
  553: 'permanent recipient',
  554: 'permanent message',
  555: 'permanent message',
  556: 'permanent recipient hard_bounce',
};
const http: Record<keyof (typeof FAILURES)['http'], string> = {
  400: 'permanent message',
  401: 'permanent provider',
  402: 'permanent provider',
  403: 'permanent provider',
  404: 'permanent provider',
  405: 'permanent provider',
  406: 'permanent provider',
  407: 'permanent provider',
  408: 'transient provider',
  409: 'permanent message',
  410: 'permanent provider',
  411: 'permanent provider',
  413: 'permanent message',
  414: 'permanent message',
  415: 'permanent message',
  422: 'permanent message',
  423: 'transient provider',
  425: 'transient provider',
  429: 'transient provider',
  431: 'permanent message',
  501: 'permanent provider',
  505: 'permanent provider',
};
const socket: Record<keyof (typeof FAILURES)['socket'], string> = {
  EFORBIDDEN: 'permanent provider',
  EAI_AGAIN: 'transient provider',
  ECONNREFUSED: 'transient provider',
  EDNS: 'transient provider',
  EHOSTUNREACH: 'transient provider',
  ENETUNREACH: 'transient provider',
  ENOTFOUND: 'transient provider',
  ETLS: 'transient provider',
  EPROTOCOL: 'transient provider',
  EMAXLIMIT: 'transient provider',
  UND_ERR_CONNECT_TIMEOUT: 'transient provider',
  CERT_HAS_EXPIRED: 'transient provider',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'transient provider',
  ERR_TLS_CERT_ALTNAME_INVALID: 'transient provider',
  SELF_SIGNED_CERT_IN_CHAIN: 'transient provider',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'transient provider',
  EAUTH: 'permanent provider',
  ENOAUTH: 'permanent provider',
  EENVELOPE: 'permanent message',
  EMESSAGE: 'permanent message',
  ECONNRESET: 'unknown provider',
  EPIPE: 'unknown provider',
  ETIMEDOUT: 'unknown provider',
  UND_ERR_ABORTED: 'unknown provider',
  UND_ERR_BODY_TIMEOUT: 'unknown provider',
  UND_ERR_HEADERS_TIMEOUT: 'unknown provider',
  UND_ERR_RES_EXCEEDED_MAX_SIZE: 'unknown provider',
  UND_ERR_SOCKET: 'unknown provider',
};

const classOf = ({ outcome, blames, suppress }: ReturnType<typeof classifyHttpError>): string =>
  [outcome, blames, suppress].filter(Boolean).join(' ');

/** Classifies the reply to the recipient. Other replies: see `smtp-failures.test.ts`. */
const classifyRecipient = (fields: object) =>
  classifySmtpError(fail({ command: 'RCPT TO', ...fields }), { isHandedOver: false, addresses: [] });

describe('FAILURES', () => {
  it.each(Object.entries(smtpEnhanced))('classifies the enhanced SMTP code %s as %s', (code, expected) => {
    const responseCode = code.startsWith('4') ? 450 : 550;
    const response = `${responseCode} ${code} <anna@example.com> no`;
    expect(classOf(classifyRecipient({ code: 'EENVELOPE', responseCode, response }))).toBe(expected);
  });

  it.each(Object.entries(smtp))('classifies the SMTP code %s as %s', (code, expected) => {
    const failure = classifyRecipient({ responseCode: Number(code), response: `${code} no` });
    expect(classOf(failure)).toBe(expected);
    expect(failure.errorCode).toBe(`smtp_${code}`);
  });

  it.each(Object.entries(http))('classifies the HTTP status %s as %s', (status, expected) => {
    expect(classOf(classifyHttpStatus(Number(status), undefined))).toBe(expected);
  });

  it.each([
    [500, 'transient provider'],
    [502, 'transient provider'],
    [503, 'transient provider'],
    [504, 'transient provider'],
    [418, 'permanent message'],
    [301, 'permanent provider'],
    [308, 'permanent provider'],
  ])('classifies the unlisted HTTP status %s as %s', (status, expected) => {
    expect(classOf(classifyHttpStatus(status, undefined))).toBe(expected);
  });

  it.each(Object.entries(socket))('classifies the socket error %s as %s', (code, expected) => {
    expect(classOf(classifyHttpError(fail({ code })))).toBe(expected);
  });

  it('finds the code of a wrapped error', () => {
    const refused = fail({ code: 'ECONNREFUSED' });
    expect(classOf(classifyHttpError(new AggregateError([refused])))).toBe('transient provider');
    expect(classOf(classifyHttpError(new TypeError('fetch failed', { cause: refused })))).toBe('transient provider');
    expect(classOf(classifyHttpError(new Error('?')))).toBe('unknown provider');
  });
});

describe('parseRetryAfter', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  it.each([
    ['120', 120_000],
    [' 5 ', 5_000],
    ['Thu, 01 Jan 2026 00:01:00 GMT', 60_000],
    ['Wed, 31 Dec 2025 00:00:00 GMT', 0],
    ['soon', undefined],
    ['-3', undefined],
    ['', undefined],
    ['99999999999999', undefined],
  ])('parses %j to %s ms', (value, expected) => {
    expect(parseRetryAfter(value, now)).toBe(expected);
  });

  it('is used only for transient failures', () => {
    expect(classifyHttpStatus(429, '7').retryAfterMs).toBe(7_000);
    expect(classifyHttpStatus(503, '7').retryAfterMs).toBe(7_000);
    expect(classifyHttpStatus(400, '7').retryAfterMs).toBeUndefined();
  });
});
