/** Pattern of language tags (BCP 47), a subset of the full grammar. Also used in JSON Schemas. */
export const LOCALE_PATTERN = '^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$';

export const isLocale = (text: string): boolean => new RegExp(LOCALE_PATTERN).test(text);

/** Returns true for languages and scripts that are written from right to left, e.g. `ar`, `he` and `az-Arab`. */
export function isRightToLeft(locale: string): boolean {
  try {
    // A getter in Node.js 22, a method since 24. The types of TypeScript have neither.
    const parsed = new Intl.Locale(locale) as Intl.Locale & {
      getTextInfo?: () => { direction: string };
      textInfo?: { direction: string };
    };
    return (parsed.getTextInfo?.() ?? parsed.textInfo)?.direction === 'rtl';
  } catch {
    // Not every tag that `LOCALE_PATTERN` allows is valid.
    return false;
  }
}

/**
 * Chooses one of the available locales, in this order: the wanted locale, its parents (`vi-VN` → `vi`), the tenant's
 * default and its parents, the first in alphabetical order.
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
