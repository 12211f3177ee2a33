import type { FieldProblem } from '../errors.ts';

const MAX_DEPTH = 64;

/**
 * Finds what PostgreSQL's jsonb cannot hold, so that one such event does not spoil a batch: NUL characters, halves of
 * surrogate pairs, and nesting beyond any use.
 */
export function checkStorable(value: unknown, path = ''): FieldProblem | undefined {
  const pending: { value: unknown; path: string; depth: number }[] = [{ value, path, depth: 0 }];
  for (let item = pending.pop(); item !== undefined; item = pending.pop()) {
    if (typeof item.value === 'string' && !isStorableText(item.value)) {
      return { path: item.path, message: 'contains a NUL character or half a surrogate pair' };
    }
    if (typeof item.value !== 'object' || item.value === null) continue;
    if (item.depth >= MAX_DEPTH) return { path: item.path, message: `is nested deeper than ${MAX_DEPTH} levels` };
    for (const [key, entry] of Object.entries(item.value)) {
      if (!isStorableText(key)) return { path: item.path, message: 'has a key with a NUL character' };
      pending.push({ value: entry, path: item.path === '' ? key : `${item.path}.${key}`, depth: item.depth + 1 });
    }
  }
  return undefined;
}

const isStorableText = (text: string): boolean => !text.includes('\u0000') && text.isWellFormed();
