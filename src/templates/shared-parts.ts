import type { Transaction } from '../database/database.ts';
import type { SharedParts } from './email.ts';
import { chooseLocale } from './locale.ts';

/** Layouts and partials of a tenant, each language counted. */
const MAX_PARTS = 200;

/** Events that never happen: their templates are put around and into those of other emails. */
const LAYOUT = 'email.layout';
const PARTIAL = 'email.partial.';

export const isShared = (eventCode: string): boolean => eventCode === LAYOUT || eventCode.startsWith(PARTIAL);

/** What is published of them, in the language that fits best. */
export async function readParts(tx: Transaction, tenantId: string, locale: string): Promise<SharedParts> {
  const rows = await tx.query<{ eventCode: string; locale: string; body: string }>(
    `select t.event_code as "eventCode", t.locale, v.body
     from notification_template t
     join notification_template_version v on v.template_id = t.id and v.version = t.published_version
     where t.tenant_id = $1 and t.channel = 'email' and t.is_active
       and (t.event_code = '${LAYOUT}' or t.event_code like '${PARTIAL}%')
     order by t.event_code, t.locale limit ${MAX_PARTS}`,
    [tenantId],
  );
  const chosen = [...Map.groupBy(rows, (row) => row.eventCode)].map(([eventCode, inLanguages]) => {
    const best = chooseLocale(
      inLanguages.map((row) => row.locale),
      locale,
      locale,
    );
    return [eventCode, inLanguages.find((row) => row.locale === best)?.body ?? ''] as const;
  });
  return {
    layout: chosen.find(([eventCode]) => eventCode === LAYOUT)?.[1] ?? null,
    partials: Object.fromEntries(
      chosen.filter(([code]) => code !== LAYOUT).map(([code, body]) => [code.slice(PARTIAL.length), body]),
    ),
  };
}
