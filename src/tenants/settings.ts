import { LRUCache } from 'lru-cache';

import { isLocale } from '../templates/locale.ts';
import type { Database, Transaction } from '../database/database.ts';
import type { DeliveryMode } from '../delivery/mode.ts';
import { validationFailed } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Channel } from '../intake/channel.ts';
import type { ProviderEntry, TenantFiles } from './files.ts';
import { fieldProblem } from './schema-problems.ts';
import { ofTenant } from './secrets.ts';
import {
  createPolicyAjv,
  mergePolicies,
  policySchemas,
  sourcesOf,
  type ResolvedPolicies,
  type TenantPolicies,
} from './policies.ts';

/** Configuration of one provider. `config` may contain `secret://` references. */
export interface ProviderSettings extends ProviderEntry {
  /** Unique in the channel. Attempts, limits and circuit breakers use it as key. */
  name: string;
  /** Source of the configuration: an admin of the tenant, the tenant file or the environment. */
  origin: 'database' | 'file' | 'environment';
}

export interface TenantSettings extends ResolvedPolicies {
  defaultLocale: string;
  /** Providers of each channel in failover order. A missing channel is not configured. */
  channels: Partial<Record<Channel, ProviderSettings[]>>;
  /** Null when only the mode of the process applies. */
  deliveryMode: DeliveryMode | null;
  /** Source of each setting. A missing setting has the built-in default. */
  sources: Record<string, SettingOrigin>;
}

export type SettingOrigin = ProviderSettings['origin'];

/** Changes of tenant settings by an admin. A missing setting stays unchanged; null resets it to the default. */
export type SettingsChanges = { [Key in keyof TenantPolicies]: TenantPolicies[Key] | null } & {
  defaultLocale?: string | null;
  deliveryMode?: DeliveryMode | null;
};

export interface TenantSettingsSource {
  /**
   * Loads the settings of each tenant, merged from the database, the tenant file and the environment, strongest first.
   */
  load(tenantIds: Iterable<string>): Promise<ReadonlyMap<string, TenantSettings>>;
  /** Clears the cache of one tenant or of all tenants. */
  forget(tenantId?: string): void;
  /**
   * Validates, writes and audits settings of a tenant in one transaction.
   * @throws `validation_failed` with the name of the setting.
   */
  save(tenantId: string, changes: SettingsChanges, by: { userId: string | null; traceId?: string }): Promise<void>;
}

export interface SettingsOptions {
  database: Database;
  files: TenantFiles;
  /** Settings from the environment, for every tenant. */
  defaults: Pick<TenantSettings, 'defaultLocale' | 'channels'>;
  /** Called after a change is committed, to clear caches. */
  onChanged: (tenantId: string) => void;
}

const CACHE_MS = 5 * 60_000;
const CACHE_TENANTS = 5_000;

interface ChannelRow extends ProviderEntry {
  tenantId: string;
  channel: Channel;
}

interface SettingsRow {
  tenantId: string;
  defaultLocale: string | null;
  deliveryMode: DeliveryMode | null;
  policies: TenantPolicies;
}

const validatePolicies = createPolicyAjv().compile<TenantPolicies>({
  type: 'object',
  additionalProperties: false,
  properties: policySchemas,
});

export function createTenantSettings({ database, files, defaults, onChanged }: SettingsOptions): TenantSettingsSource {
  const cache = new LRUCache<string, TenantSettings>({ max: CACHE_TENANTS, ttl: CACHE_MS });
  /** Counts calls of `forget`. Settings that were read before the last call may be outdated and are not cached. */
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

      const [{ channels, rows }, fromFiles] = await Promise.all([
        readDatabase(database, missing),
        Promise.all(missing.map((tenantId) => files.read(tenantId))),
      ]);
      for (const [index, tenantId] of missing.entries()) {
        const { channels: fileChannels = {}, defaultLocale: fileLocale, ...filePolicies } = fromFiles[index] ?? {};
        const row = rows.get(tenantId);
        const merged: TenantSettings = {
          ...mergePolicies(row?.policies, filePolicies),
          defaultLocale: row?.defaultLocale ?? fileLocale ?? defaults.defaultLocale,
          deliveryMode: row?.deliveryMode ?? null,
          sources: sourcesOf<SettingOrigin>([
            [
              'database',
              { ...row?.policies, ...present({ defaultLocale: row?.defaultLocale, deliveryMode: row?.deliveryMode }) },
            ],
            ['file', { ...filePolicies, ...present({ defaultLocale: fileLocale }) }],
            ['environment', { defaultLocale: defaults.defaultLocale }],
          ]),
          channels: {
            ...defaults.channels,
            ...fromOrigin('file', Object.entries(fileChannels) as [Channel, ProviderEntry | ProviderEntry[]][]),
            ...fromOrigin(
              'database',
              Map.groupBy(channels.get(tenantId) ?? [], (channel) => channel.channel),
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
    save: async (tenantId, changes, by) => {
      await database.asTenant(tenantId, (tx) => saveTenantSettings(tx, tenantId, changes, by));
      onChanged(tenantId);
    },
  };
}

/** Validates, writes and audits settings of a tenant. @throws `validation_failed` */
export async function saveTenantSettings(
  tx: Transaction,
  tenantId: string,
  { defaultLocale, deliveryMode, ...changes }: SettingsChanges,
  { userId, traceId }: { userId: string | null; traceId?: string },
): Promise<void> {
  // Null means "no quiet hours" for `quietHours`; for other settings it resets to the default.
  const dropped = Object.entries(changes).flatMap(([key, value]) =>
    value === null && key !== 'quietHours' ? [key] : [],
  );
  const policies = Object.fromEntries(Object.entries(changes).filter(([key]) => !dropped.includes(key)));
  const problems = validatePolicies(policies)
    ? []
    : (validatePolicies.errors ?? []).map((error) => fieldProblem(error, 'input'));
  if (typeof defaultLocale === 'string' && !isLocale(defaultLocale)) {
    problems.push({ path: 'input.defaultLocale', message: 'must be a language tag, e.g. vi-VN' });
  }
  if (problems.length > 0) throw validationFailed(problems);
  await tx.query(
    `with old as (select * from tenant_settings where tenant_id = $1),
           saved as (
             insert into tenant_settings as settings (tenant_id, default_locale, delivery_mode, policies, updated_by)
             values ($1, $3, $5, $6, $7)
             on conflict (tenant_id) do update
               set default_locale = case when $2 then excluded.default_locale else settings.default_locale end,
                   delivery_mode = case when $4 then excluded.delivery_mode else settings.delivery_mode end,
                   policies = (settings.policies || excluded.policies) - $10::text[], updated_by = excluded.updated_by, updated_at = now()
             returning default_locale, delivery_mode, policies
           )
           insert into audit_event (id, tenant_id, action, actor_id, trace_id, details)
           select $8, $1, 'notification.config.updated', $7, $9, jsonb_build_object(
             'old', jsonb_build_object('default_locale', old.default_locale, 'delivery_mode', old.delivery_mode,
               'policies', old.policies),
             'new', to_jsonb(saved))
           from saved left join old on true`,
    [
      tenantId,
      defaultLocale !== undefined,
      defaultLocale ?? null,
      deliveryMode !== undefined,
      deliveryMode ?? null,
      JSON.stringify(policies),
      userId,
      newId(),
      traceId ?? newId(),
      dropped,
    ],
  );
}

const present = (values: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null && value !== undefined));

/** Adds names and origin to the channels of one source. */
function fromOrigin(
  origin: ProviderSettings['origin'],
  channels: Iterable<[Channel, ProviderEntry | ProviderEntry[]]>,
): TenantSettings['channels'] {
  return Object.fromEntries(
    [...channels].map(([channel, entries]) => [
      channel,
      withNames([entries].flat()).map(({ provider, name, config, limits }) => ({
        provider,
        name,
        config,
        origin,
        ...(limits && { limits }),
      })),
    ]),
  );
}

/** Names entries without a name: `smtp`, `smtp-2` and so on. */
export function withNames<Entry extends Pick<ProviderEntry, 'provider' | 'name'>>(
  entries: readonly Entry[],
): (Entry & { name: string })[] {
  const taken = new Set<string>();
  return entries.map((entry) => {
    const wanted = entry.name || entry.provider;
    let name = wanted;
    for (let nth = 2; taken.has(name); nth += 1) name = `${wanted}-${nth}`;
    taken.add(name);
    return { ...entry, name };
  });
}

function readDatabase(
  database: Database,
  tenantIds: string[],
): Promise<{ channels: Map<string, ChannelRow[]>; rows: Map<string, SettingsRow> }> {
  return database.asWorker(async (tx) => {
    const channels = await tx.query<ChannelRow>(
      `select tenant_id as "tenantId", channel, provider, name, config, limits from channel_config
       where tenant_id = any($1) and is_enabled order by position, updated_at, id`,
      [tenantIds],
    );
    const rows = await tx.query<SettingsRow>(
      `select tenant_id as "tenantId", default_locale as "defaultLocale", delivery_mode as "deliveryMode", policies
       from tenant_settings where tenant_id = any($1)`,
      [tenantIds],
    );
    return {
      channels: Map.groupBy(
        channels.map((row) => ({ ...row, config: ofTenant(row.config, row.tenantId) as Record<string, unknown> })),
        (row) => row.tenantId,
      ),
      rows: new Map(rows.map((row) => [row.tenantId, row])),
    };
  });
}
