import type { FieldProblem } from '../errors.ts';
import { isExactNumber, MAX_NUMBER } from '../exact-json.ts';

const MAX_DEPTH = 64;

/**
 * Finds values that PostgreSQL's jsonb cannot store: NUL characters, halves of surrogate pairs, too long numbers, and too deep nesting. One
 * such event would otherwise fail its whole batch.
 */
export function checkStorable(value: unknown, path = ''): FieldProblem | undefined {
  const found = problemIn(value, 0);
  return found && { path: [path, ...found.path].filter((part) => part !== '').join('.'), message: found.message };
}

/** Returns path and message of the first problem. The path is built only when there is a problem. */
function problemIn(value: unknown, depth: number): { path: string[]; message: string } | undefined {
  if (typeof value === 'string') {
    return isStorableText(value)
      ? undefined
      : { path: [], message: 'contains a NUL character or half a surrogate pair' };
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if (isExactNumber(value)) {
    const { rawJSON } = value;
    // Only a number that is too long to be expanded still has an exponent.
    const isTooLong = rawJSON.length > MAX_NUMBER || /e/i.test(rawJSON);
    return isTooLong ? { path: [], message: `is a number with more than ${MAX_NUMBER} digits` } : undefined;
  }
  if (depth >= MAX_DEPTH) return { path: [], message: `is nested deeper than ${MAX_DEPTH} levels` };
  const isList = Array.isArray(value);
  for (const key of Object.keys(value)) {
    if (!isList && !isStorableText(key)) return { path: [], message: 'has a key with a NUL character' };
    const inner = problemIn((value as Record<string, unknown>)[key], depth + 1);
    if (inner) return { ...inner, path: [key, ...inner.path] };
  }
  return undefined;
}

const isStorableText = (text: string): boolean => !text.includes('\u0000') && text.isWellFormed();
