import { LRUCache } from 'lru-cache';

import type { Database } from '../database/database.ts';
import type { Channel } from '../intake/channel.ts';
import type { TenantFiles } from './files.ts';

/** One way to send through a channel. `config` may hold `secret://` references. */
export interface ProviderSettings {
  provider: string;
  config: Record<string, unknown>;
  /** Who decided: an admin of the tenant, or an operator by file or environment. */
  origin: 'database' | 'file' | 'environment';
}

export interface TenantSettings {
  defaultLocale: string;
  /** The provider in force for each channel; a channel that is not here is not configured. */
  channels: Partial<Record<Channel, ProviderSettings>>;
}

export interface TenantSettingsSource {
  /** Settings of each tenant, merged from the database, the tenant's file and the environment, strongest first. */
  load(tenantIds: Iterable<string>): Promise<ReadonlyMap<string, TenantSettings>>;
  /** Forgets what is cached for a tenant, or for all of them. */
  forget(tenantId?: string): void;
  /** Sets what an admin decides for the tenant as a whole. */
  save(tenantId: string, changes: Pick<TenantSettings, 'defaultLocale'>, updatedBy: string | null): Promise<void>;
}

export interface SettingsOptions {
  database: Database;
  files: TenantFiles;
  /** What the environment gives every tenant. */
  defaults: TenantSettings;
  /** Called once a change is committed, so that nobody goes on with what is cached. */
  onChanged: (tenantId: string) => void;
}

const CACHE_MS = 5 * 60_000;
const CACHE_TENANTS = 5_000;

interface ChannelRow {
  tenant_id: string;
  channel: Channel;
  provider: string;
  config: Record<string, unknown>;
}

export function createTenantSettings({ database, files, defaults, onChanged }: SettingsOptions): TenantSettingsSource {
  const cache = new LRUCache<string, TenantSettings>({ max: CACHE_TENANTS, ttl: CACHE_MS });
  /** What was read before something was forgotten may be the old state, and is not kept. */
  let generation = 0;

  return {
    load: async (tenantIds) => {
      const settings = new Map<string, TenantSettings>();
      const missing: string[] = [];
      for (const tenantId of new Set(tenantIds)) {
        const cached = cache.get(tenantId);
        if (cached) settings.set(tenantId, cached);
        else missing.push(tenantId);
      }
      if (missing.length === 0) return settings;
      const readIn = generation;

      const [{ channels, locales }, fromFiles] = await Promise.all([
        readDatabase(database, missing),
        Promise.all(missing.map((tenantId) => files.read(tenantId))),
      ]);
      for (const [index, tenantId] of missing.entries()) {
        const file = fromFiles[index];
        const merged: TenantSettings = {
          defaultLocale: locales.get(tenantId) ?? file?.defaultLocale ?? defaults.defaultLocale,
          channels: {
            ...defaults.channels,
            ...file?.channels,
            ...Object.fromEntries(
              channels
                .filter((row) => row.tenant_id === tenantId)
                .map(({ channel, provider, config }) => [channel, { provider, config, origin: 'database' as const }]),
            ),
          },
        };
        if (readIn === generation) cache.set(tenantId, merged);
        settings.set(tenantId, merged);
      }
      return settings;
    },
    forget: (tenantId) => {
      generation += 1;
      if (tenantId === undefined) cache.clear();
      else cache.delete(tenantId);
    },
    save: async (tenantId, { defaultLocale }, updatedBy) => {
      await database.asTenant(tenantId, (tx) =>
        tx.query(
          `insert into tenant_settings (tenant_id, default_locale, updated_by) values ($1, $2, $3)
           on conflict (tenant_id) do update
             set default_locale = excluded.default_locale, updated_by = excluded.updated_by, updated_at = now()`,
          [tenantId, defaultLocale, updatedBy],
        ),
      );
      onChanged(tenantId);
    },
  };
}

function readDatabase(
  database: Database,
  tenantIds: string[],
): Promise<{ channels: ChannelRow[]; locales: Map<string, string | null> }> {
  return database.asWorker(async (tx) => {
    const channels = await tx.query<ChannelRow>(
      `select tenant_id, channel, provider, config from channel_config
       where tenant_id = any($1) and is_enabled order by updated_at`,
      [tenantIds],
    );
    const settings = await tx.query<{ tenant_id: string; default_locale: string | null }>(
      'select tenant_id, default_locale from tenant_settings where tenant_id = any($1)',
      [tenantIds],
    );
    return { channels, locales: new Map(settings.map((row) => [row.tenant_id, row.default_locale])) };
  });
}
