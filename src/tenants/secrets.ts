import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { Keyring, Sealed } from '../keyring.ts';

/** A referenced secret is missing or unreadable. The message contains its name but not its value. */
export class SecretUnavailable extends Error {}

/** A secret that an admin entered, encrypted in the database. */
export interface SealedSecret {
  $sealed: Sealed;
  /** Tenant of the secret. Decryption fails for another tenant. */
  tenantId?: string;
}

/** A reference from an admin. It resolves only in the tenant's own folder. */
export interface TenantSecret {
  $named: string;
  tenantId: string;
}

/**
 * Reads `secret://name` from the mounted folder, references of a tenant from its own subfolder, and decrypts sealed
 * secrets. Reads the file at every use, so that a rotated secret needs no restart.
 */
export type ReadSecret = (secret: string | TenantSecret | SealedSecret) => Promise<unknown>;

/** Allowed names of secrets. Path separators and leading dots are not allowed. */
const NAME = /^secret:\/\/([A-Za-z0-9][A-Za-z0-9._-]*)$/;
const TENANT = /^[A-Za-z0-9][A-Za-z0-9._:-]*$/;

export function secretReader(folder: string): (reference: string) => Promise<string> {
  return async (reference) => {
    const name = NAME.exec(reference)?.[1];
    if (name === undefined) throw new SecretUnavailable('a reference to a secret must have the form secret://name');
    try {
      return (await readFile(join(folder, name), 'utf8')).trim();
    } catch (error) {
      throw new SecretUnavailable(`secret://${name} cannot be read`, { cause: error });
    }
  };
}

/** Returns a reader that also reads references of tenants and sealed secrets. */
export function allSecretsReader(folder: string, keyring: Keyring): ReadSecret {
  const ofOperator = secretReader(folder);
  const ofTenant = async (reference: string, tenantId: string): Promise<string> => {
    if (!TENANT.test(tenantId))
      throw new SecretUnavailable('the id of this tenant cannot be the name of a folder, so it has no secrets');
    return secretReader(join(folder, tenantId))(reference);
  };
  return async (secret) => {
    if (typeof secret === 'string') return ofOperator(secret);
    if (isTenantSecret(secret)) return ofTenant(secret.$named, secret.tenantId);
    const { $sealed, tenantId = '' } = secret;
    let opened: unknown;
    try {
      opened = JSON.parse(keyring.open($sealed, tenantId));
    } catch (error) {
      throw new SecretUnavailable((error as Error).message, { cause: error });
    }
    // A list may contain both references and values.
    return resolveSecrets(opened, (reference) => ofTenant(String(reference), tenantId));
  };
}

/**
 * Binds all secrets in a tenant's configuration to that tenant, so that they cannot refer to secrets of others. The
 * tenant comes from the database row, not from the configuration.
 */
export function ofTenant(value: unknown, tenantId: string): unknown {
  if (isSecretReference(value)) return { $named: value, tenantId } satisfies TenantSecret;
  if (isSealedSecret(value)) return { $sealed: value.$sealed, tenantId } satisfies SealedSecret;
  if (Array.isArray(value)) return value.map((item) => ofTenant(item, tenantId));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, ofTenant(item, tenantId)]));
}

const isTenantSecret = (value: unknown): value is TenantSecret =>
  typeof value === 'object' && value !== null && '$named' in value;

export const isSealedSecret = (value: unknown): value is SealedSecret =>
  typeof value === 'object' && value !== null && '$sealed' in value;

export const isSecretReference = (value: unknown): value is string =>
  typeof value === 'string' && value.startsWith('secret://');

/** Replaces every `secret://name` in a configuration, at any depth, by the value of the secret. */
export async function resolveSecrets<Value>(value: Value, read: ReadSecret): Promise<Value> {
  if (isSecretReference(value) || isTenantSecret(value) || isSealedSecret(value)) return (await read(value)) as Value;
  if (Array.isArray(value)) return (await Promise.all(value.map((item) => resolveSecrets(item, read)))) as Value;
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(async ([key, item]) => [key, await resolveSecrets(item, read)]);
  return Object.fromEntries(await Promise.all(entries)) as Value;
}
