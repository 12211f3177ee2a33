import { AppError, type FieldProblem, validationFailed } from '../errors.ts';
import type { Keyring } from '../keyring.ts';
import { isSealedSecret, isSecretReference, type SealedSecret } from './secrets.ts';

/*
 * Secrets in the configuration of a provider. Its JSON Schema marks them with `writeOnly`. They are encrypted at rest
 * and never shown. A change that leaves a secret out, or sends its mask back, keeps it, unless the change sets a new host
 * or URL.
 */

export type Config = Record<string, unknown>;

export interface ConfigSchema {
  writeOnly?: boolean;
  properties?: Record<string, ConfigSchema>;
}

/** Shown in place of a secret. */
const MASK = '***';

/** Returns true for a secret that the change leaves out or sends back as it was shown. */
const isLeftOut = (value: unknown): boolean => value === undefined || value === MASK;

const isObject = (value: unknown): value is Config =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Replaces the secrets of a configuration. */
function mapSecrets(
  schema: ConfigSchema,
  config: Config,
  replace: (value: unknown, path: string) => unknown,
  place = 'input.config',
): Config {
  const entries = Object.entries(config).map(([key, value]): [string, unknown] => {
    const inner = innerOf(schema, key);
    const path = `${place}.${key}`;
    if (inner?.writeOnly) return [key, replace(value, path)];
    return [key, inner && isObject(value) ? mapSecrets(inner, value, replace, path) : value];
  });
  return Object.fromEntries(entries);
}

const innerOf = (schema: ConfigSchema, key: string): ConfigSchema | undefined =>
  Object.hasOwn(schema.properties ?? {}, key) ? schema.properties?.[key] : undefined;

/** Refuses `secret://` references in fields that are shown, because they would reveal the secret. */
export function misplaced(schema: ConfigSchema, config: Config, place = 'input.config'): FieldProblem[] {
  return Object.entries(config).flatMap(([key, value]) => {
    const inner = innerOf(schema, key);
    const path = `${place}.${key}`;
    if (holdsSealed(value))
      return [{ path, message: 'must be the secret itself or secret://name, not an encrypted value' }];
    if (!inner || inner.writeOnly) return [];
    if (isSecretReference(value))
      return [{ path, message: 'must not be a secret:// reference, because this field is shown' }];
    return isObject(value) ? misplaced(inner, value, path) : [];
  });
}

const holdsSealed = (value: unknown): boolean =>
  isSealedSecret(value) || (typeof value === 'object' && value !== null && Object.values(value).some(holdsSealed));

/** Fields that determine the server to which secrets are sent. */
const ADDRESSES = ['host', 'url', 'baseUrl', 'tokenUrl'];

/** Requires secrets to be entered again with a new address, because the server at that address receives them. */
export function leftBehind(schema: ConfigSchema, given: Config, before: Config): FieldProblem[] {
  // An address that is itself a secret stays the same when it is left out.
  const isMoved = (key: string): boolean =>
    given[key] !== before[key] && !(innerOf(schema, key)?.writeOnly && isLeftOut(given[key]));
  if (!ADDRESSES.some(isMoved)) return [];
  const kept = (inner: ConfigSchema, now: Config, then: Config, place: string): FieldProblem[] =>
    Object.entries(inner.properties ?? {}).flatMap(([key, { writeOnly, ...rest }]) => {
      const [value, was] = [now[key], then[key]];
      const path = `${place}.${key}`;
      if (!writeOnly) return isObject(value) && isObject(was) ? kept(rest, value, was, path) : [];
      if (!isLeftOut(value) || was === undefined) return [];
      return [{ path, message: 'must be entered again, because the host or URL has changed' }];
    });
  return kept(schema, given, before, 'input.config');
}

/**
 * Adds the existing secrets that the change leaves out or sends back masked, and removes those set to null.
 *
 * @throws `validation_failed` naming every masked secret without a stored value.
 */
export function keepSecrets(schema: ConfigSchema, given: Config, before: Config): Config {
  const problems: FieldProblem[] = [];
  const keep = (inner: ConfigSchema, now: Config, then: Config, place: string): Config => {
    const kept: Config = { ...now };
    for (const [key, { writeOnly, ...rest }] of Object.entries(inner.properties ?? {})) {
      const [value, was] = [now[key], then[key]];
      const path = `${place}.${key}`;
      if (!writeOnly) {
        if (isObject(value)) kept[key] = keep(rest, value, isObject(was) ? was : {}, path);
      } else if (value === null) delete kept[key];
      else if (isLeftOut(value)) {
        if (was !== undefined) kept[key] = was;
        else if (value === MASK)
          problems.push({ path, message: `must be entered, because no value is stored that ${MASK} could stand for` });
      }
    }
    return kept;
  };
  const kept = keep(schema, given, before, 'input.config');
  if (problems.length > 0) throw validationFailed(problems);
  return kept;
}

/** Returns true for one `secret://` reference or a list of them. */
const isNamed = (value: unknown): boolean => {
  if (typeof value !== 'object' || value === null) return isSecretReference(value);
  const parts: unknown[] = Object.values(value);
  return parts.length > 0 && parts.every(isNamed);
};

export const sealSecrets = (schema: ConfigSchema, config: Config, tenantId: string, keyring: Keyring): Config =>
  mapSecrets(schema, config, (value, path) => {
    if (isSealedSecret(value) || isNamed(value)) return value;
    if (keyring.currentKey === undefined) {
      const message = 'cannot be encrypted, because DATA_KEYS is not set. Use a reference like secret://name';
      throw validationFailed([{ path, message }]);
    }
    return { $sealed: keyring.seal(JSON.stringify(value), tenantId) };
  });

/** Decrypts the secrets of a configuration for validation. `secret://` references stay unresolved. */
export function openSecrets(config: Config, tenantId: string, keyring: Keyring): Config {
  const entries = Object.entries(config).map(([key, value]): [string, unknown] => {
    if (isSealedSecret(value)) return [key, openOne(value, tenantId, keyring)];
    return [key, isObject(value) ? openSecrets(value, tenantId, keyring) : value];
  });
  return Object.fromEntries(entries);
}

/**
 * Masks the secrets of a configuration, except `secret://` references. Fields unknown to the schema are masked as well.
 */
export function maskSecrets(schema: ConfigSchema, config: Config): Config {
  const hide = (value: unknown): unknown => (isNamed(value) ? value : MASK);
  const known = Object.entries(config).map(([key, value]): [string, unknown] => [
    key,
    innerOf(schema, key) ? value : hide(value),
  ]);
  return mapSecrets(schema, Object.fromEntries(known), hide);
}

function openOne({ $sealed }: SealedSecret, tenantId: string, keyring: Keyring): unknown {
  try {
    return JSON.parse(keyring.open($sealed, tenantId)) as unknown;
  } catch (error) {
    throw new AppError('unavailable', `The stored secrets cannot be decrypted: ${(error as Error).message}.`);
  }
}
