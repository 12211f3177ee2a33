import { LockMode } from '@mikro-orm/core';
import { LRUCache } from 'lru-cache';

import { writeAudit } from '../audit/write.ts';
import { isLocale } from '../templates/locale.ts';
import type { Database, Transaction } from '../database/database.ts';
import type { DeliveryMode } from '../delivery/mode.ts';
import { AppError, validationFailed } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Channel } from '../intake/channel.ts';
import type { StoredChannelConfig } from './channel-config.entity.ts';
import type { ProviderEntry, TenantFiles } from './files.ts';
import { fieldProblem } from './schema-problems.ts';
import { ofTenant } from './secrets.ts';
import { type StoredTenantSettings, TenantSettingsEntity } from './tenant-settings.entity.ts';
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

type ChannelRow = Pick<StoredChannelConfig, 'tenantId' | 'channel' | 'provider' | 'name' | 'config'> &
  Pick<ProviderEntry, 'limits'>;

/** Reads many tenants at once for the dispatcher, which does this for each batch whose tenants are not cached. */
const READ_CHANNELS = `select tenant_id as "tenantId", channel, provider, name, config, limits from channel_config
  where tenant_id = any($1) and is_enabled order by position, updated_at, id`;
const READ_SETTINGS = `select tenant_id as "tenantId", default_locale as "defaultLocale", delivery_mode as "deliveryMode",
    policies
  from tenant_settings where tenant_id = any($1)`;

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
              Map.groupBy(channels.get(tenantId) ?? [], ({ channel }) => channel),
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
  const dropped = new Set(
    Object.entries(changes).flatMap(([key, value]) => (value === null && key !== 'quietHours' ? [key] : [])),
  );
  const policies = Object.fromEntries(Object.entries(changes).filter(([key]) => !dropped.has(key)));
  const problems = validatePolicies(policies)
    ? []
    : (validatePolicies.errors ?? []).map((error) => fieldProblem(error, 'input'));
  if (typeof defaultLocale === 'string' && !isLocale(defaultLocale)) {
    problems.push({ path: 'input.defaultLocale', message: 'must be a language tag, e.g. vi-VN' });
  }
  if (problems.length > 0) throw validationFailed(problems);
  const { em } = tx;
  const find = () =>
    em.findOne(TenantSettingsEntity, { tenantId }, { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true });
  const stored = await find();
  const old = stored ? stated(stored) : { default_locale: null, delivery_mode: null, policies: null };
  // Two admins may save a tenant's first settings at the same time: one inserts, and the other waits for the lock.
  if (!stored) await em.upsert(TenantSettingsEntity, { tenantId }, { onConflictAction: 'ignore' });
  const settings = stored ?? (await find());
  if (!settings) throw new AppError('internal', 'The tenant settings were not inserted.');
  settings.policies = Object.fromEntries(
    Object.entries({ ...settings.policies, ...policies }).filter(([key]) => !dropped.has(key)),
  );
  if (defaultLocale !== undefined) settings.defaultLocale = defaultLocale;
  if (deliveryMode !== undefined) settings.deliveryMode = deliveryMode;
  Object.assign(settings, { updatedBy: userId, updatedAt: new Date() });
  await em.flush();
  await writeAudit(tx, {
    actor: { tenantId, userId },
    traceId: traceId ?? newId(),
    action: 'notification.config.updated',
    details: { old, new: stated(settings) },
  });
}

/** The settings as an audit event shows them. */
const stated = ({ defaultLocale, deliveryMode, policies }: StoredTenantSettings) => ({
  default_locale: defaultLocale,
  delivery_mode: deliveryMode,
  policies,
});

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
): Promise<{ channels: Map<string, ChannelRow[]>; rows: Map<string, StoredTenantSettings> }> {
  return database.asWorker(async (tx) => {
    const channels = await tx.query<ChannelRow>(READ_CHANNELS, [tenantIds]);
    const rows = await tx.query<StoredTenantSettings>(READ_SETTINGS, [tenantIds]);
    return {
      channels: Map.groupBy(
        channels.map((row) => ({ ...row, config: ofTenant(row.config, row.tenantId) as Record<string, unknown> })),
        (row) => row.tenantId,
      ),
      rows: new Map(rows.map((row) => [row.tenantId, row])),
    };
  });
}
