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

/** One way to send through a channel. `config` may hold `secret://` references. */
export interface ProviderSettings extends ProviderEntry {
  /** Unique in its channel: attempts, limits and circuits go by it. */
  name: string;
  /** Who decided: an admin of the tenant, or an operator by file or environment. */
  origin: 'database' | 'file' | 'environment';
}

export interface TenantSettings extends ResolvedPolicies {
  defaultLocale: string;
  /** The providers of each channel in failover order; a channel that is not here is not configured. */
  channels: Partial<Record<Channel, ProviderSettings[]>>;
  /** Null: the process decides. */
  deliveryMode: DeliveryMode | null;
  /** Who decided each of these; what is not here is a default of ours. */
  sources: Record<string, SettingOrigin>;
}

export type SettingOrigin = ProviderSettings['origin'];

/** What an admin may set for the tenant as a whole. What is not named stays as it is; null goes back to the default. */
export type SettingsChanges = { [Key in keyof TenantPolicies]: TenantPolicies[Key] | null } & {
  defaultLocale?: string | null;
  deliveryMode?: DeliveryMode | null;
};

export interface TenantSettingsSource {
  /** Settings of each tenant, merged from the database, the tenant's file and the environment, strongest first. */
  load(tenantIds: Iterable<string>): Promise<ReadonlyMap<string, TenantSettings>>;
  /** Forgets what is cached for a tenant, or for all of them. */
  forget(tenantId?: string): void;
  /**
   * Sets what an admin decides for the tenant as a whole, and audits it in the same transaction.
   * @throws `validation_failed` naming the setting.
   */
  save(tenantId: string, changes: SettingsChanges, by: { userId: string | null; traceId?: string }): Promise<void>;
}

export interface SettingsOptions {
  database: Database;
  files: TenantFiles;
  /** What the environment gives every tenant. */
  defaults: Pick<TenantSettings, 'defaultLocale' | 'channels'>;
  /** Called once a change is committed, so that nobody goes on with what is cached. */
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

/** Checks and writes what an admin decides for the tenant as a whole, and audits it. @throws `validation_failed` */
export async function saveTenantSettings(
  tx: Transaction,
  tenantId: string,
  { defaultLocale, deliveryMode, ...changes }: SettingsChanges,
  { userId, traceId }: { userId: string | null; traceId?: string },
): Promise<void> {
  // To have no quiet hours is a decision; of everything else, null takes the decision back.
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

/** Channels as one source gives them. */
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

/** `smtp`, and the second one `smtp-2`. */
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
