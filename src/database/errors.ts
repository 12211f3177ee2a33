import { OptimisticLockError } from '@mikro-orm/core';

import { AppError } from '../errors.ts';

/** Code of PostgreSQL for U+0000 in text. */
export const NUL_IN_TEXT = '22021';
/** Codes of PostgreSQL for U+0000 in text and in JSON, and for half a surrogate pair in JSON. */
const UNSTORABLE_CODES = new Set([NUL_IN_TEXT, '22P05', '22P02']);
/** The value is longer than an index allows. */
const TOO_LONG = '54000';

/** The error for text that PostgreSQL cannot store. */
export const unstorableText = (cause?: unknown): AppError =>
  new AppError('validation_failed', 'Text cannot contain the character U+0000 or half a surrogate pair.', { cause });

/**
 * Translates errors that the caller can correct: U+0000 in a text becomes `validation_failed`, and a row that another
 * request changed in the meantime becomes `conflict`. Returns any other error as it is.
 */
export function asCallersError(error: unknown): unknown {
  const code = String((error as { code?: unknown }).code);
  if (UNSTORABLE_CODES.has(code)) return unstorableText(error);
  if (code === TOO_LONG) return new AppError('validation_failed', 'A text is too long to be stored.', { cause: error });
  if (error instanceof OptimisticLockError) {
    return new AppError(
      'conflict',
      'Another request changed this at the same time. Read it again and repeat the change.',
      {
        cause: error,
      },
    );
  }
  return error;
}

/**
 * Returns true for an invalid value (class 22), a violated constraint (class 23) or an exceeded limit (class 54). The
 * same input would fail again, so a retry is useless.
 */
export function isRefusedData(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && /^(22|23|54)/.test(code);
}

/**
 * PostgreSQL shuts down or starts (57P01–57P03), has no free connection (53300), a connection failed (class 08), a statement
 * reached its timeout (57014), or it conflicted with others (55P03, 40P01, 40001).
 */
const UNAVAILABLE_CODES = /^(57P0[123]|57014|55P03|40P01|40001|53300|08\w{3})$/;
/** A connection that Node could not open or that broke. */
const NETWORK_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);
/** Returns whether the database did not answer within the time limit of the driver. */
export const isUnanswered = (error: unknown): error is Error =>
  error instanceof Error && error.message === 'Query read timeout';

/** The driver raises these without a code. */
const DRIVER_MESSAGES =
  /^(Connection terminated|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error)/;

/** True when the database could not be reached: the same operation may succeed later. */
export function isDatabaseUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  if (typeof code === 'string') return UNAVAILABLE_CODES.test(code) || NETWORK_CODES.has(code);
  if (error instanceof AggregateError) return error.errors.some(isDatabaseUnavailable);
  return DRIVER_MESSAGES.test(error.message) || isDatabaseUnavailable(error.cause);
}
