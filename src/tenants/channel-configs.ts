import { isDeepStrictEqual } from 'node:util';

import { Ajv, type ErrorObject } from 'ajv';

import { writeAudit } from '../audit/write.ts';
import type { ProviderSchema } from '../channels/registry.ts';
import type { Database, Transaction } from '../database/database.ts';
import { AppError, type FieldProblem, validationFailed } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import { newId } from '../ids.ts';
import type { Channel } from '../intake/channel.ts';
import type { Keyring } from '../keyring.ts';
import type { Limits } from './policies.ts';
import { isSealedSecret, isSecretReference, type SealedSecret } from './secrets.ts';

/** How a tenant sends through one provider, as an admin writes it. */
export interface ChannelConfigChange {
  channel: Channel;
  provider: string;
  /** Tells several of one provider apart; empty: the provider's own name. */
  name: string;
  /** A secret that is left out stays as it is. */
  config: Record<string, unknown>;
  limits: Limits | null;
  /** Its turn among the providers of the channel. */
  position: number;
  isEnabled: boolean;
}

export interface ChannelConfigs {
  /**
   * Sets how the tenant sends through one provider; audited. Secrets are encrypted before they are written.
   *
   * @returns what is saved, its secrets masked.
   * @throws `validation_failed` naming the field, and never showing its value.
   */
  save(actor: Actor, change: ChannelConfigChange, traceId: string): Promise<ChannelConfigChange>;
  /** Settings as people may see them: of a secret that it is there, and which one where it has a name. */
  shown(channel: Channel, provider: string, config: Record<string, unknown>): Record<string, unknown>;
  /** What there is to configure. */
  readonly providers: readonly ProviderSchema[];
}

type Config = Record<string, unknown>;
interface Schema {
  writeOnly?: boolean;
  properties?: Record<string, Schema>;
}

const NAME = /^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$/;
const MASK = '***';

/** What saving a configuration needs to know. */
export interface ChannelConfigTools {
  keyring: Keyring;
  schemas: readonly ProviderSchema[];
}

export function createChannelConfigs({
  database,
  onChanged,
  ...tools
}: ChannelConfigTools & {
  database: Database;
  /** Called once a change is committed, so that nobody sends by what is cached. */
  onChanged: (tenantId: string) => void;
}): ChannelConfigs {
  return {
    save: async (actor, change, traceId) => {
      const { saved } = await database.asTenant(actor.tenantId, (tx) =>
        saveChannelConfig(tx, actor, change, { ...tools, traceId }),
      );
      onChanged(actor.tenantId);
      return saved;
    },
    // What nobody knows the schema of may be secret, all of it.
    shown: (channel, provider, config) => {
      const known = tools.schemas.find((one) => one.channel === channel && one.name === provider);
      return known ? masked(known.configSchema, config) : {};
    },
    providers: tools.schemas,
  };
}

// As providers read it, except for what they do not need to be told: see `provider-config.ts`.
const ajv = new Ajv({ allErrors: true, allowUnionTypes: true });

/**
 * Checks and writes one configuration, and audits it, unless it is what there is already.
 *
 * @returns the configuration, its secrets masked.
 * @throws `validation_failed` naming the field.
 */
export async function saveChannelConfig(
  tx: Transaction,
  actor: Pick<Actor, 'tenantId' | 'userId'>,
  change: ChannelConfigChange,
  { keyring, schemas, traceId }: ChannelConfigTools & { traceId: string },
): Promise<{ saved: ChannelConfigChange; isChanged: boolean }> {
  const { tenantId } = actor;
  const known = schemas.find(({ channel, name }) => channel === change.channel && name === change.provider);
  if (!known) {
    const names = schemas.filter(({ channel }) => channel === change.channel).map(({ name }) => name);
    const message = names.length > 0 ? `must be one of ${names.join(', ')}` : 'is not needed for this channel';
    throw validationFailed([{ path: 'input.provider', message }]);
  }
  const bounds = boundsOf(change);
  if (bounds.length > 0) throw validationFailed(bounds);
  const schema: Schema = known.configSchema;
  const before = await lock(tx, tenantId, change);
  const given = keepSecrets(schema, change.config, before?.config ?? {});
  const opened = open(given, tenantId, keyring);
  const problems = check(known.configSchema, opened, given);
  if (problems.length > 0) throw validationFailed(problems);

  const { limits, position, isEnabled } = change;
  const rest = { limits, position, isEnabled };
  const isSame = before !== undefined && isDeepStrictEqual([opened, rest], statedIn(before, tenantId, keyring));
  if (isSame) return { saved: { ...change, config: masked(schema, given) }, isChanged: false };
  const config = seal(schema, given, tenantId, keyring);
  await write(tx, actor, { ...change, config });
  await writeAudit(tx, {
    actor,
    traceId,
    action: 'notification.config.updated',
    details: {
      channel: change.channel,
      provider: change.provider,
      name: change.name,
      old: before ? { ...before, config: masked(schema, before.config) } : null,
      new: { ...rest, config: masked(schema, config) },
    },
  });
  return { saved: { ...change, config: masked(schema, config) }, isChanged: true };
}

function boundsOf({ name, position, limits }: ChannelConfigChange): FieldProblem[] {
  const { concurrency = 1, ratePerSecond = 1 } = limits ?? {};
  const problems: FieldProblem[] = [];
  if (!NAME.test(name))
    problems.push({ path: 'input.name', message: 'must be letters, digits, dots, dashes or underscores' });
  if (position < 0 || position > 100) problems.push({ path: 'input.position', message: 'must be from 0 to 100' });
  if (concurrency < 1 || concurrency > 10_000) {
    problems.push({ path: 'input.concurrency', message: 'must be from 1 to 10 000' });
  }
  if (!(ratePerSecond > 0) || ratePerSecond > 1_000_000) {
    problems.push({ path: 'input.ratePerSecond', message: 'must be more than 0, and 1 000 000 at most' });
  }
  return problems;
}

/** What a row says, in the clear; undefined where its secrets cannot be read here. */
function statedIn({ config, ...rest }: StoredConfig, tenantId: string, keyring: Keyring): unknown {
  try {
    return [open(config, tenantId, keyring), rest];
  } catch {
    return undefined;
  }
}

type StoredConfig = Pick<ChannelConfigChange, 'config' | 'limits' | 'position' | 'isEnabled'>;

async function lock(tx: Transaction, tenantId: string, { channel, provider, name }: ChannelConfigChange) {
  const [row] = await tx.query<StoredConfig>(
    `select config, limits, position, is_enabled as "isEnabled" from channel_config
     where tenant_id = $1 and channel = $2 and provider = $3 and name = $4 for update`,
    [tenantId, channel, provider, name],
  );
  return row;
}

const write = (
  tx: Transaction,
  { tenantId, userId }: Pick<Actor, 'tenantId' | 'userId'>,
  change: ChannelConfigChange,
) =>
  tx.query(
    `insert into channel_config (id, tenant_id, channel, provider, name, config, limits, position, is_enabled, updated_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
     on conflict (tenant_id, channel, provider, name) do update
       set config = excluded.config, limits = excluded.limits, position = excluded.position,
           is_enabled = excluded.is_enabled, updated_by = excluded.updated_by, updated_at = now()`,
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
    ],
  );

const isObject = (value: unknown): value is Config =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Goes through a configuration along its schema, and replaces what is secret. */
function mapSecrets(schema: Schema, config: Config, replace: (value: unknown) => unknown): Config {
  const entries = Object.entries(config).map(([key, value]): [string, unknown] => {
    const inner = Object.hasOwn(schema.properties ?? {}, key) ? schema.properties?.[key] : undefined;
    if (inner?.writeOnly) return [key, replace(value)];
    return [key, inner && isObject(value) ? mapSecrets(inner, value, replace) : value];
  });
  return Object.fromEntries(entries);
}

/** What is given, and the secrets that there were where none is. */
function keepSecrets(schema: Schema, given: Config, before: Config): Config {
  const kept: Config = { ...given };
  for (const [key, inner] of Object.entries(schema.properties ?? {})) {
    if (inner.writeOnly && given[key] === undefined && before[key] !== undefined) kept[key] = before[key];
    else if (isObject(given[key]) && isObject(before[key])) kept[key] = keepSecrets(inner, given[key], before[key]);
  }
  return kept;
}

const isStored = (value: unknown): boolean => isSealedSecret(value) || isSecretReference(value);

const seal = (schema: Schema, config: Config, tenantId: string, keyring: Keyring): Config =>
  mapSecrets(schema, config, (value) => {
    if (isStored(value)) return value;
    if (keyring.currentKey === undefined) {
      const message = 'holds a secret, and there is no key to encrypt it with (DATA_KEYS): name one as secret://name';
      throw validationFailed([{ path: 'input.config', message }]);
    }
    return { $sealed: keyring.seal(JSON.stringify(value), tenantId) };
  });

/** As it is when it is used, to be checked; what lies elsewhere stays a name. */
function open(config: Config, tenantId: string, keyring: Keyring): Config {
  const entries = Object.entries(config).map(([key, value]): [string, unknown] => {
    if (isSealedSecret(value)) return [key, openOne(value, tenantId, keyring)];
    return [key, isObject(value) ? open(value, tenantId, keyring) : value];
  });
  return Object.fromEntries(entries);
}

/** For people: that a secret is there, and which one where it has a name. What the schema does not know may be one. */
function masked(schema: Schema, config: Config): Config {
  const hide = (value: unknown): unknown => (isSecretReference(value) ? value : MASK);
  const known = Object.entries(config).map(([key, value]): [string, unknown] => [
    key,
    Object.hasOwn(schema.properties ?? {}, key) ? value : hide(value),
  ]);
  return mapSecrets(schema, Object.fromEntries(known), hide);
}

function openOne({ $sealed }: SealedSecret, tenantId: string, keyring: Keyring): unknown {
  try {
    return JSON.parse(keyring.open($sealed, tenantId)) as unknown;
  } catch (error) {
    throw new AppError('unavailable', `A secret that is there cannot be kept here: ${(error as Error).message}.`);
  }
}

function check(schema: Record<string, unknown>, config: Config, given: Config): FieldProblem[] {
  const validate = ajv.compile(schema);
  if (validate(config)) return [];
  return (validate.errors ?? []).filter((error) => !isReference(given, error)).map(toProblem);
}

/** What is behind a name is looked at when it is used. */
function isReference(config: Config, { instancePath }: ErrorObject): boolean {
  let value: unknown = config;
  for (const part of instancePath.split('/').slice(1)) value = isObject(value) ? value[part] : undefined;
  return isSecretReference(value);
}

function toProblem({ instancePath, keyword, message = 'is wrong', params }: ErrorObject): FieldProblem {
  const { missingProperty, additionalProperty } = params as { missingProperty?: string; additionalProperty?: string };
  const path = ['input.config', ...instancePath.split('/').slice(1), missingProperty ?? additionalProperty]
    .filter((part) => part !== undefined)
    .join('.');
  const what = { required: 'is missing', additionalProperties: 'is not known here' }[keyword] ?? message;
  return { path, message: what };
}
