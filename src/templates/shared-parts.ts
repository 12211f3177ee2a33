import type { Transaction } from '../database/database.ts';
import type { SharedParts } from './email.ts';
import { chooseLocale } from './locale.ts';
import { findPublished } from './published.ts';

/** Maximum number of layouts and partials of a tenant, in all languages. */
const MAX_PARTS = 200;

/** Reserved event codes, whose templates are the layout and the partials of other emails. */
const LAYOUT = 'email.layout';
const PARTIAL = 'email.partial.';

export const isShared = (eventCode: string): boolean => eventCode === LAYOUT || eventCode.startsWith(PARTIAL);

/** One layout or partial, in one language. */
export interface SharedTemplate {
  eventCode: string;
  locale: string;
  body: string;
}

/** Reads the published layouts and partials. */
export async function readShared({ em }: Transaction, tenantId: string): Promise<SharedTemplate[]> {
  const templates = await findPublished(
    em,
    {
      tenantId,
      channel: 'email',
      isActive: true,
      publishedVersion: { $ne: null },
      $or: [{ eventCode: LAYOUT }, { eventCode: { $like: `${PARTIAL}%` } }],
    },
    { orderBy: { eventCode: 'asc', locale: 'asc' }, limit: MAX_PARTS },
  );
  return templates.map(({ template: { eventCode, locale }, published }) => ({
    eventCode,
    locale,
    body: published?.body ?? '',
  }));
}

/**
 * Chooses each part in the best matching language. If two have the same event code and language, the last one counts.
 */
export function chooseParts(templates: SharedTemplate[], locale: string): SharedParts {
  const chosen = [...Map.groupBy(templates, ({ eventCode }) => eventCode)].map(([eventCode, inLanguages]) => {
    const languages = inLanguages.map((template) => template.locale);
    const best = chooseLocale(languages, locale, locale);
    return [eventCode, inLanguages.findLast((template) => template.locale === best)?.body ?? ''] as const;
  });
  return {
    layout: chosen.find(([eventCode]) => eventCode === LAYOUT)?.[1] ?? null,
    partials: Object.fromEntries(
      chosen.filter(([code]) => code !== LAYOUT).map(([code, body]) => [code.slice(PARTIAL.length), body]),
    ),
  };
}

export const readParts = async (tx: Transaction, tenantId: string, locale: string): Promise<SharedParts> =>
  chooseParts(await readShared(tx, tenantId), locale);
