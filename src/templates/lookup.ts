import { LRUCache } from 'lru-cache';

import type { Database } from '../database/database.ts';
import type { Channel } from '../intake/channel.ts';
import { chooseLocale } from './locale.ts';
import { prepareTemplates } from './render.ts';
import type { PublishedTemplate } from './template.ts';

export interface TemplateKey {
  tenantId: string;
  eventCode: string;
  channel: Channel;
}

export interface TemplateLookup {
  /**
   * The active, published templates of each key, in every language. One statement for all keys that are not cached;
   * what was not read yet is read, so that rendering need not.
   * Absence is not cached: a template made a moment ago is found by the next event.
   */
  load(keys: TemplateKey[]): Promise<(key: TemplateKey) => PublishedTemplate[]>;
  /** Forgets what is cached for a tenant, or for all of them. */
  forget(tenantId?: string): void;
}

const CACHE_MS = 5 * 60_000;
const CACHE_ENTRIES = 10_000;

export function createTemplateLookup(database: Database): TemplateLookup {
  const cache = new LRUCache<string, PublishedTemplate[]>({ max: CACHE_ENTRIES, ttl: CACHE_MS });
  /** What was read before something was forgotten may be the old state, and is not kept. */
  let generation = 0;

  return {
    load: async (keys) => {
      const found = new Map<string, PublishedTemplate[]>();
      const missing = new Map<string, TemplateKey>();
      for (const key of keys) {
        const id = cacheKey(key);
        const cached = cache.get(id);
        if (cached) found.set(id, cached);
        else missing.set(id, key);
      }
      if (missing.size > 0) {
        const readIn = generation;
        for (const template of await readPublished(database, [...missing.values()])) {
          const id = cacheKey(template);
          const list = found.get(id);
          if (list) list.push(template);
          else found.set(id, [template]);
        }
        for (const id of missing.keys()) {
          const list = found.get(id);
          if (list && readIn === generation) cache.set(id, list);
        }
      }
      await prepareTemplates([...found.values()].flat());
      return (key) => found.get(cacheKey(key)) ?? [];
    },
    forget: (tenantId) => {
      generation += 1;
      if (tenantId === undefined) return cache.clear();
      const prefix = `${JSON.stringify(tenantId)}\n`;
      for (const id of cache.keys()) if (id.startsWith(prefix)) cache.delete(id);
    },
  };
}

/** The template in the language that fits best. */
export function pickTemplate(
  templates: PublishedTemplate[],
  wantedLocale: string | undefined,
  defaultLocale: string,
): PublishedTemplate | undefined {
  const locale = chooseLocale(
    templates.map((template) => template.locale),
    wantedLocale,
    defaultLocale,
  );
  return templates.find((template) => template.locale === locale);
}

const cacheKey = ({ tenantId, eventCode, channel }: TemplateKey): string =>
  `${JSON.stringify(tenantId)}\n${eventCode}\n${channel}`;

function readPublished(database: Database, keys: TemplateKey[]): Promise<PublishedTemplate[]> {
  return database.asWorker((tx) =>
    tx.query<PublishedTemplate & object>(
      `select t.id as "templateId", v.version, t.tenant_id as "tenantId", t.event_code as "eventCode", t.channel,
              t.locale, v.subject, coalesce(v.page, v.body) as body, v.text, v.default_params as "defaultParams"
       from unnest($1::text[], $2::text[], $3::text[]) as wanted (tenant_id, event_code, channel)
       join notification_template t using (tenant_id, event_code, channel)
       join notification_template_version v
         on v.template_id = t.id and v.version = t.published_version and v.tenant_id = t.tenant_id
       where t.is_active`,
      [keys.map((key) => key.tenantId), keys.map((key) => key.eventCode), keys.map((key) => key.channel)],
    ),
  );
}
