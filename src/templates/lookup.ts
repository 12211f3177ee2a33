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
   * Returns the active, published templates of each key, in all languages. Runs one statement for all keys that are not
   * cached, and parses the templates, so that rendering does not have to. Absence is not cached, so that the next event
   * finds a new template.
   */
  load(keys: TemplateKey[]): Promise<(key: TemplateKey) => PublishedTemplate[]>;
  /** Clears the cache of one tenant or of all tenants. */
  forget(tenantId?: string): void;
}

const CACHE_MS = 5 * 60_000;
const CACHE_ENTRIES = 10_000;

export function createTemplateLookup(database: Database): TemplateLookup {
  const cache = new LRUCache<string, PublishedTemplate[]>({ max: CACHE_ENTRIES, ttl: CACHE_MS });
  /** Counts calls of `forget`. Rows that were read before the last call may be outdated and are not cached. */
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

/** Returns the template in the best matching language. */
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

/** One query for all templates of a batch of deliveries that are not cached, over many tenants. */
const SELECT_PUBLISHED = `select t.id as "templateId", v.version, t.tenant_id as "tenantId", t.event_code as "eventCode", t.channel,
         t.locale, v.subject, coalesce(v.page, v.body) as body, v.text, v.default_params::json as "defaultParams"
  from unnest($1::text[], $2::text[], $3::text[]) as wanted (tenant_id, event_code, channel)
  join notification_template t using (tenant_id, event_code, channel)
  join notification_template_version v
    on v.template_id = t.id and v.version = t.published_version and v.tenant_id = t.tenant_id
  where t.is_active`;

function readPublished(database: Database, keys: TemplateKey[]): Promise<PublishedTemplate[]> {
  return database.asWorker((tx) =>
    tx.query<PublishedTemplate & object>(SELECT_PUBLISHED, [
      keys.map((key) => key.tenantId),
      keys.map((key) => key.eventCode),
      keys.map((key) => key.channel),
    ]),
  );
}
