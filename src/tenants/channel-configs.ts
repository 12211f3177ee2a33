import { isDeepStrictEqual } from 'node:util';

import { LockMode, UniqueConstraintViolationException } from '@mikro-orm/core';

import { writeAudit } from '../audit/write.ts';
import type { ProviderSchema } from '../channels/registry.ts';
import type { Database, Transaction } from '../database/database.ts';
import { hasVersion } from '../database/optimistic-lock.ts';
import { AppError, type FieldProblem, validationFailed } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import { newId } from '../ids.ts';
import { CHANNELS, type Channel } from '../intake/channel.ts';
import type { Keyring } from '../keyring.ts';
import { ChannelConfigEntity, type StoredChannelConfig } from './channel-config.entity.ts';
import { mismatches, outOfBounds } from './config-problems.ts';
import {
  type Config,
  type ConfigSchema,
  keepSecrets,
  leftBehind,
  maskSecrets,
  misplaced,
  openSecrets,
  sealSecrets,
} from './config-secrets.ts';
import type { Limits } from './policies.ts';
import { type SettingOrigin, type TenantSettingsSource, withNames } from './settings.ts';

/** Identifies one of a tenant's configurations. */
export interface ChannelConfigKey {
  channel: Channel;
  provider: string;
  /** Distinguishes several configurations of one provider. Empty or the provider's own name means the unnamed one. */
  name: string;
}

/** A configuration as an admin writes it. */
export interface ChannelConfigChange extends ChannelConfigKey {
  /** An omitted secret keeps its value; null removes it. */
  config: Record<string, unknown>;
  limits: Limits | null;
  /** Position in the failover order of the channel. */
  position: number;
  isEnabled: boolean;
}

/** A configuration as admins see it. Secrets are masked; a reference such as `secret://name` stays visible. */
export interface ShownChannelConfig extends ChannelConfigChange {
  origin: SettingOrigin;
  /** Incremented by each change; null when the configuration comes from a file or the environment. */
  version: number | null;
}

export interface Guard {
  traceId: string;
  /** Version that the caller has read; 0 if none was stored. When absent, the version is not checked. */
  expectedVersion?: number | null | undefined;
}

export interface ChannelConfigs {
  /** Lists the tenant's configurations by channel in failover order; disabled ones come last in their channel. */
  list(tenantId: string): Promise<ShownChannelConfig[]>;
  /**
   * Saves one configuration. Audited. Secrets are encrypted before they are written.
   *
   * @throws `validation_failed` naming the field without its value; `conflict` when the version has changed.
   */
  save(actor: Actor, change: ChannelConfigChange, guard: Guard): Promise<ShownChannelConfig>;
  /**
   * Deletes one configuration with its secrets. Audited. If the channel has no other, the operator's file or the
   * environment applies again.
   *
   * @throws `not_found`, or `conflict` when the version has changed.
   */
  remove(actor: Actor, key: ChannelConfigKey, guard: Guard): Promise<void>;
  /** The providers that can be configured. */
  readonly providers: readonly ProviderSchema[];
}

/** Maximum number of configurations per channel; a tenant's file has the same limit. */
const MAX_PER_CHANNEL = 10;

/** Dependencies of `saveChannelConfig`. */
export interface ChannelConfigTools {
  keyring: Keyring;
  schemas: readonly ProviderSchema[];
}

export function createChannelConfigs({
  database,
  settings,
  onChanged,
  ...tools
}: ChannelConfigTools & {
  database: Database;
  /** Settings that apply, from all sources. */
  settings: Pick<TenantSettingsSource, 'load'>;
  /** Called after the commit, to drop cached settings. */
  onChanged: (tenantId: string) => void;
}): ChannelConfigs {
  // Without a schema, any field may be secret.
  const shown = ({ channel, provider }: Pick<ChannelConfigKey, 'channel' | 'provider'>, config: Config): Config => {
    const known = tools.schemas.find((one) => one.channel === channel && one.name === provider);
    return known ? maskSecrets(known.configSchema, config) : {};
  };
  return {
    list: async (tenantId) => {
      const [inForce, stored] = await Promise.all([
        settings.load([tenantId]),
        database.asTenant(tenantId, (tx) => readChannelConfigs(tx, tenantId)),
      ]);
      const rows = Map.groupBy(stored, ({ channel }) => channel);
      return CHANNELS.flatMap((channel) => {
        const own = rows.get(channel) ?? [];
        const enabled = withNames(own.filter(({ isEnabled }) => isEnabled));
        const disabled = own
          .filter(({ isEnabled }) => !isEnabled)
          .map((row) => ({ ...row, name: row.name || row.provider }));
        const ofOperator = (inForce.get(tenantId)?.channels[channel] ?? [])
          .filter(({ origin }) => origin !== 'database' && enabled.length === 0)
          .map(({ limits = null, ...entry }, position) => ({
            ...entry,
            channel,
            limits,
            position,
            isEnabled: true,
            version: null,
          }));
        const ofTenant = [...enabled, ...disabled].map((row) => ({ ...row, origin: 'database' as const }));
        return [...ofOperator, ...ofTenant].map((entry) => ({ ...entry, config: shown(entry, entry.config) }));
      });
    },
    save: async (actor, change, guard) => {
      const { saved } = await database.asTenant(actor.tenantId, (tx) =>
        saveChannelConfig(tx, actor, change, { ...tools, ...guard }),
      );
      onChanged(actor.tenantId);
      return { ...saved, name: saved.name || saved.provider };
    },
    remove: async (actor, key, guard) => {
      await database.asTenant(actor.tenantId, async (tx) => {
        const before = await lock(tx, actor.tenantId, key);
        if (!before) throw notFound(key);
        await assertVersion(tx, before, guard.expectedVersion);
        tx.em.remove(before);
        await writeAudit(tx, {
          actor,
          traceId: guard.traceId,
          action: 'notification.config.updated',
          details: { ...withOwnName(key), old: stated(before, shown(key, before.config)), new: null },
        });
      });
      onChanged(actor.tenantId);
    },
    providers: tools.schemas,
  };
}

/**
 * Checks, writes and audits one configuration. Does nothing when it equals the stored one.
 *
 * @returns the configuration, its state before and after, all with masked secrets.
 * @throws `validation_failed` naming the field; `conflict` when the version has changed.
 */
export async function saveChannelConfig(
  tx: Transaction,
  actor: Pick<Actor, 'tenantId' | 'userId'>,
  asked: ChannelConfigChange,
  { keyring, schemas, traceId, expectedVersion }: ChannelConfigTools & Guard,
): Promise<{ saved: ShownChannelConfig; isChanged: boolean; before: StatedConfig | null; after: StatedConfig }> {
  const { tenantId } = actor;
  const key = withOwnName(asked);
  const { limits, position, isEnabled } = asked;
  const change: ChannelConfigChange = { ...key, config: asked.config, limits, position, isEnabled };
  const known = schemas.find(({ channel, name }) => channel === change.channel && name === change.provider);
  if (!known) {
    const names = schemas.filter(({ channel }) => channel === change.channel).map(({ name }) => name);
    const message =
      names.length > 0 ? `must be one of ${names.join(', ')}` : 'is not allowed, because this channel has no providers';
    throw validationFailed([{ path: 'input.provider', message }]);
  }
  const schema: ConfigSchema = known.configSchema;
  refuse([...outOfBounds(change), ...misplaced(schema, change.config)]);
  const before = await lock(tx, tenantId, key);
  await assertVersion(tx, before, expectedVersion);
  if (!before) await assertRoom(tx, tenantId, change);
  if (before) refuse(leftBehind(schema, change.config, before.config));
  const given = keepSecrets(schema, change.config, before?.config ?? {});
  const opened = openSecrets(given, tenantId, keyring);
  refuse(mismatches(known.configSchema, opened));

  const after = { limits, position, isEnabled };
  const result = (config: Config, version: number): ShownChannelConfig => ({
    ...change,
    config: maskSecrets(schema, config),
    version,
    origin: 'database',
  });
  if (before && isDeepStrictEqual(stated(after, opened), statedIn(before, tenantId, keyring))) {
    const same = stated(after, maskSecrets(schema, given));
    return { saved: result(given, before.version), isChanged: false, before: same, after: same };
  }
  const config = sealSecrets(schema, given, tenantId, keyring);
  const was = before ? stated(before, maskSecrets(schema, before.config)) : null;
  const version = await write(tx, actor, { ...change, config }, before);
  const is = stated(after, maskSecrets(schema, config));
  await writeAudit(tx, {
    actor,
    traceId,
    action: 'notification.config.updated',
    details: { ...key, old: was, new: is },
  });
  return { saved: result(config, version), isChanged: true, before: was, after: is };
}

/** An unnamed configuration is shown under its provider's name, and callers may send that name back. */
const withOwnName = ({ channel, provider, name }: ChannelConfigKey): ChannelConfigKey => ({
  channel,
  provider,
  name: name === provider ? '' : name,
});

/** The content of a configuration, without its key. */
type StatedConfig = Omit<ChannelConfigChange, keyof ChannelConfigKey>;

const stated = ({ limits, position, isEnabled }: Omit<StatedConfig, 'config'>, config: Config): StatedConfig => ({
  config,
  limits,
  position,
  isEnabled,
});

function refuse(problems: FieldProblem[]): void {
  if (problems.length > 0) throw validationFailed(problems);
}

const notFound = ({ channel, provider, name }: ChannelConfigKey): AppError =>
  new AppError(
    'not_found',
    `This tenant has no stored configuration of ${JSON.stringify(provider)}${name ? ` named ${JSON.stringify(name)}` : ''} for ${channel}.`,
  );

/** @throws `conflict` when the stored version is not the one that the caller has read. */
async function assertVersion(
  { em }: Transaction,
  stored: StoredChannelConfig | null,
  expected: number | null | undefined,
): Promise<void> {
  if (stored === null ? !expected : await hasVersion(em, stored, expected)) return;
  const version = stored?.version ?? 0;
  throw new AppError('conflict', `The configuration is at version ${version}, not ${expected}. Read it again.`, {
    details: { version },
  });
}

/** Serialises the creation of a channel's configurations, so that the limit holds for calls at the same time. */
const LOCK_CHANNEL = 'select pg_advisory_xact_lock(hashtextextended($1, 0))';

async function assertRoom({ em, query }: Transaction, tenantId: string, { channel }: ChannelConfigKey): Promise<void> {
  await query(LOCK_CHANNEL, [`channel_config ${tenantId} ${channel}`]);
  if ((await em.count(ChannelConfigEntity, { tenantId, channel })) < MAX_PER_CHANNEL) return;
  throw validationFailed([
    { path: 'input.channel', message: `already has ${MAX_PER_CHANNEL} configurations, which is the maximum` },
  ]);
}

/** Returns the content of a stored configuration with decrypted secrets; undefined if they cannot be decrypted. */
function statedIn(row: StoredChannelConfig, tenantId: string, keyring: Keyring): unknown {
  try {
    return stated(row, openSecrets(row.config, tenantId, keyring));
  } catch {
    return undefined;
  }
}

/** Returns the stored configuration and locks its row until the end of the transaction. */
function lock({ em }: Transaction, tenantId: string, key: ChannelConfigKey): Promise<StoredChannelConfig | null> {
  return em.findOne(
    ChannelConfigEntity,
    { tenantId, ...withOwnName(key) },
    { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
  );
}

/** Returns the tenant's configurations by channel, in failover order. */
export const readChannelConfigs = ({ em }: Transaction, tenantId: string): Promise<StoredChannelConfig[]> =>
  em.find(
    ChannelConfigEntity,
    { tenantId },
    { orderBy: { channel: 'asc', position: 'asc', updatedAt: 'asc', id: 'asc' } },
  );

/** @returns the new version. @throws `conflict` when another request created the configuration since it was read. */
async function write(
  { em }: Transaction,
  { tenantId, userId }: Pick<Actor, 'tenantId' | 'userId'>,
  { channel, provider, name, ...change }: ChannelConfigChange,
  stored: StoredChannelConfig | null,
): Promise<number> {
  const values = { ...change, updatedBy: userId, updatedAt: new Date() };
  const saved = stored
    ? Object.assign(stored, values)
    : em.create(ChannelConfigEntity, { id: newId(), tenantId, channel, provider, name, ...values }, { persist: true });
  try {
    await em.flush();
  } catch (error) {
    if (!(error instanceof UniqueConstraintViolationException)) throw error;
    throw new AppError('conflict', `Another request has just configured ${provider} for ${channel}. Read it again.`, {
      cause: error,
    });
  }
  return saved.version;
}
