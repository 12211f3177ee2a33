import { OptimisticLockError } from '@mikro-orm/core';

import { AppError } from '../errors.ts';

/** Codes of PostgreSQL for U+0000 in text and in JSON. */
const NUL_CODES = new Set(['22021', '22P05']);

/** The error for text that PostgreSQL cannot store, because it contains U+0000. */
export const nulCharacter = (cause?: unknown): AppError =>
  new AppError('validation_failed', 'Text cannot contain the character U+0000.', { cause });

/**
 * Translates errors that the caller can correct: U+0000 in a text becomes `validation_failed`, and a row that another
 * request changed in the meantime becomes `conflict`. Returns any other error as it is.
 */
export function asCallersError(error: unknown): unknown {
  if (NUL_CODES.has(String((error as { code?: unknown }).code))) return nulCharacter(error);
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

/** PostgreSQL shuts down or starts (57P01–57P03), has no free connection (53300), or a connection failed (class 08). */
const UNAVAILABLE_CODES = /^(57P0[123]|53300|08\w{3})$/;
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
/** The driver raises these without a code. */
const DRIVER_MESSAGES =
  /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/;

/** True when the database could not be reached: the same operation may succeed later. */
export function isDatabaseUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  if (typeof code === 'string') return UNAVAILABLE_CODES.test(code) || NETWORK_CODES.has(code);
  if (error instanceof AggregateError) return error.errors.some(isDatabaseUnavailable);
  return DRIVER_MESSAGES.test(error.message) || isDatabaseUnavailable(error.cause);
}
