/** A language tag (BCP 47), as far as we tell one from something else; a pattern of JSON Schema too. */
export const LOCALE_PATTERN = '^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$';

export const isLocale = (text: string): boolean => new RegExp(LOCALE_PATTERN).test(text);

/**
 * Which of the languages at hand to use: the wanted one, its parents (`vi-VN` → `vi`), the tenant's default and its
 * parents, else the first in alphabetical order, so that the choice never depends on chance.
 */
export function chooseLocale(
  available: readonly string[],
  wanted: string | undefined,
  fallback: string,
): string | undefined {
  const byLowerCase = new Map(available.map((locale) => [locale.toLowerCase(), locale]));
  for (const candidate of [...withParents(wanted), ...withParents(fallback)]) {
    const found = byLowerCase.get(candidate);
    if (found !== undefined) return found;
  }
  return available.toSorted()[0];
}

function withParents(locale: string | undefined): string[] {
  const parts = locale?.toLowerCase().split('-') ?? [];
  return parts.map((_part, index) => parts.slice(0, parts.length - index).join('-'));
}
