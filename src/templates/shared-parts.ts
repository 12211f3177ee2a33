import type { Transaction } from '../database/database.ts';
import type { SharedParts } from './email.ts';
import { chooseLocale } from './locale.ts';

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
export const readShared = (tx: Transaction, tenantId: string): Promise<SharedTemplate[]> =>
  tx.query<SharedTemplate & object>(
    `select t.event_code as "eventCode", t.locale, v.body
     from notification_template t
     join notification_template_version v on v.template_id = t.id and v.version = t.published_version
     where t.tenant_id = $1 and t.channel = 'email' and t.is_active
       and (t.event_code = '${LAYOUT}' or t.event_code like '${PARTIAL}%')
     order by t.event_code, t.locale limit ${MAX_PARTS}`,
    [tenantId],
  );

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
