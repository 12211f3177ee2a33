import { isDeepStrictEqual } from 'node:util';

import { writeAudit } from '../audit/write.ts';
import type { ProviderSchema } from '../channels/registry.ts';
import type { Database, Transaction } from '../database/database.ts';
import { AppError, type FieldProblem, validationFailed } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import { newId } from '../ids.ts';
import { CHANNELS, type Channel } from '../intake/channel.ts';
import type { Keyring } from '../keyring.ts';
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

/** Key of one of a tenant's configurations. */
export interface ChannelConfigKey {
  channel: Channel;
  provider: string;
  /** Distinguishes several configurations of one provider. Empty for the name of the provider. */
  name: string;
}

/** A configuration of one provider, as entered by an admin. */
export interface ChannelConfigChange extends ChannelConfigKey {
  /** A secret that is left out keeps its value; null removes it. */
  config: Record<string, unknown>;
  limits: Limits | null;
  /** Failover position among the providers of the channel. */
  position: number;
  isEnabled: boolean;
}

/** A configuration with masked secrets: it shows whether a secret is set, and its `secret://` name if it has one. */
export interface ShownChannelConfig extends ChannelConfigChange {
  origin: SettingOrigin;
  /** Incremented by every change; null when the configuration is not in the database. */
  version: number | null;
}

export interface Guard {
  traceId: string;
  /** Version that the caller has read; 0 if there was no configuration. Absent: no check. */
  expectedVersion?: number | null | undefined;
}

export interface ChannelConfigs {
  /** Lists the configurations by channel and in failover order; disabled ones come last in their channel. */
  list(tenantId: string): Promise<ShownChannelConfig[]>;
  /**
   * Validates, writes and audits a configuration. Secrets are encrypted before they are written.
   *
   * @throws `validation_failed` with the field but not its value; `conflict` when the version has changed.
   */
  save(actor: Actor, change: ChannelConfigChange, guard: Guard): Promise<ShownChannelConfig>;
  /**
   * Removes a configuration with its secrets, and audits it. When the channel has no other configuration in the
   * database, the operator's file or the environment applies again.
   *
   * @throws `not_found`; `conflict` when the version has changed.
   */
  remove(actor: Actor, key: ChannelConfigKey, guard: Guard): Promise<void>;
  /** Schemas of all providers. */
  readonly providers: readonly ProviderSchema[];
}

/** Same limit as in tenant files. */
const MAX_PER_CHANNEL = 10;

/** Dependencies of {@link saveChannelConfig}. */
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
  /** Source of the effective settings. */
  settings: Pick<TenantSettingsSource, 'load'>;
  /** Called after a change is committed, to clear caches. */
  onChanged: (tenantId: string) => void;
}): ChannelConfigs {
  // Without a schema every value is treated as a secret.
  const shown = ({ channel, provider }: Pick<ChannelConfigKey, 'channel' | 'provider'>, config: Config): Config => {
    const known = tools.schemas.find((one) => one.channel === channel && one.name === provider);
    return known ? maskSecrets(known.configSchema, config) : {};
  };
  return {
    list: async (tenantId) => {
      const [inForce, stored] = await Promise.all([
        settings.load([tenantId]),
        database.asTenant(tenantId, (tx) => readAll(tx, tenantId)),
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
        if (!before) throw new AppError('not_found', 'There is no such configuration.');
        assertVersion(before.version, guard.expectedVersion);
        await tx.query('delete from channel_config where id = $1', [before.id]);
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
 * Validates, writes and audits one configuration. Does nothing when it is unchanged.
 *
 * @returns the configuration before and after the change, with secrets masked.
 * @throws `validation_failed` with the field; `conflict` when the version has changed.
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
    const message = names.length > 0 ? `must be one of ${names.join(', ')}` : 'is not needed for this channel';
    throw validationFailed([{ path: 'input.provider', message }]);
  }
  const schema: ConfigSchema = known.configSchema;
  refuse([...outOfBounds(change), ...misplaced(schema, change.config)]);
  const before = await lock(tx, tenantId, key);
  assertVersion(before?.version ?? 0, expectedVersion);
  if (!before) await assertRoom(tx, change);
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
  const version = await write(tx, actor, { ...change, config }, before?.version ?? 0);
  const was = before ? stated(before, maskSecrets(schema, before.config)) : null;
  const is = stated(after, maskSecrets(schema, config));
  await writeAudit(tx, {
    actor,
    traceId,
    action: 'notification.config.updated',
    details: { ...key, old: was, new: is },
  });
  return { saved: result(config, version), isChanged: true, before: was, after: is };
}

/** Converts the provider's name, which is shown for an empty name, back to the empty name. */
const withOwnName = ({ channel, provider, name }: ChannelConfigKey): ChannelConfigKey => ({
  channel,
  provider,
  name: name === provider ? '' : name,
});

/** A configuration without its key. */
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

function assertVersion(version: number, expected: number | null | undefined): void {
  if (expected === undefined || expected === null || expected === version) return;
  throw new AppError('conflict', `The configuration is at version ${version}, and not ${expected}.`, {
    details: { version },
  });
}

async function assertRoom(tx: Transaction, { channel }: ChannelConfigKey): Promise<void> {
  const [row] = await tx.query<{ count: number }>(
    'select count(*)::int as count from channel_config where channel = $1',
    [channel],
  );
  if ((row?.count ?? 0) < MAX_PER_CHANNEL) return;
  throw validationFailed([
    { path: 'input.channel', message: `has ${MAX_PER_CHANNEL} configurations, the most there may be` },
  ]);
}

/** Decrypts a row for comparison; undefined when its secrets cannot be decrypted here. */
function statedIn(row: StoredConfig, tenantId: string, keyring: Keyring): unknown {
  try {
    return stated(row, openSecrets(row.config, tenantId, keyring));
  } catch {
    return undefined;
  }
}

interface StoredConfig extends StatedConfig {
  id: string;
  version: number;
}

const COLUMNS = 'id, config, limits, position, is_enabled as "isEnabled", version';

async function lock(tx: Transaction, tenantId: string, key: ChannelConfigKey): Promise<StoredConfig | undefined> {
  const { channel, provider, name } = withOwnName(key);
  const [row] = await tx.query<StoredConfig>(
    `select ${COLUMNS} from channel_config
     where tenant_id = $1 and channel = $2 and provider = $3 and name = $4 for update`,
    [tenantId, channel, provider, name],
  );
  return row;
}

const readAll = (tx: Transaction, tenantId: string): Promise<(StoredConfig & ChannelConfigKey)[]> =>
  tx.query(
    `select channel, provider, name, ${COLUMNS} from channel_config
     where tenant_id = $1 order by channel, position, updated_at, id`,
    [tenantId],
  );

/** Writes the row. @returns the new version. @throws `conflict` when it was created or changed since it was read. */
async function write(
  tx: Transaction,
  { tenantId, userId }: Pick<Actor, 'tenantId' | 'userId'>,
  change: ChannelConfigChange,
  version: number,
): Promise<number> {
  const [row] = await tx.query<{ version: number }>(
    `insert into channel_config as stored
       (id, tenant_id, channel, provider, name, config, limits, position, is_enabled, updated_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
     on conflict (tenant_id, channel, provider, name) do update
       set config = excluded.config, limits = excluded.limits, position = excluded.position, version = stored.version + 1,
           is_enabled = excluded.is_enabled, updated_by = excluded.updated_by, updated_at = now()
       where stored.version = $11
     returning version`,
    [
      newId(),
      tenantId,
      change.channel,
      change.provider,
      change.name,
      JSON.stringify(change.config),
      change.limits === null ? null : JSON.stringify(change.limits),
      change.position,
      change.isEnabled,
      userId,
      version,
    ],
  );
  if (!row) throw new AppError('conflict', 'Somebody else has just set up this provider.');
  return row.version;
}
