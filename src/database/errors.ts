import { AppError } from '../errors.ts';

/** What PostgreSQL says to U+0000, in text and in JSON: whoever sent it learns that, and not that we failed. */
const NUL_CODES = new Set(['22021', '22P05']);

/** An error that a caller's own value brought about, as one that the caller may see; any other as it is. */
export function asCallersError(error: unknown): unknown {
  if (!NUL_CODES.has(String((error as { code?: unknown }).code))) return error;
  return new AppError('validation_failed', 'Text cannot hold the character U+0000.', { cause: error });
}

/**
 * True for errors of the value itself (class 22), of a constraint (class 23) or of a limit of the program (class 54):
 * the same input fails the same way again, so trying again helps nobody.
 */
export function isRefusedData(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && /^(22|23|54)/.test(code);
}
