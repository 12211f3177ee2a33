import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { Keyring, Sealed } from '../keyring.ts';

/** A secret that is named but cannot be had. Says its name and never its value. */
export class SecretUnavailable extends Error {}

/** What an admin typed in, as it lies in the database. */
export interface SealedSecret {
  $sealed: Sealed;
  /** The tenant that it is of: for another it does not open. */
  tenantId?: string;
}

/** A name that an admin gave: of the secrets that an operator keeps for their tenant, and of no others. */
export interface TenantSecret {
  $named: string;
  tenantId: string;
}

/**
 * Reads `secret://name` from the mounted folder, at every use, so that a rotated secret needs no restart; from the
 * tenant's own folder in it what a tenant names; and opens what is sealed.
 */
export type ReadSecret = (secret: string | TenantSecret | SealedSecret) => Promise<unknown>;

/** What a file or a folder may be called: no way leads up or elsewhere. */
const NAME = /^secret:\/\/([A-Za-z0-9][A-Za-z0-9._-]*)$/;
const TENANT = /^[A-Za-z0-9][A-Za-z0-9._:-]*$/;

export function secretReader(folder: string): (reference: string) => Promise<string> {
  return async (reference) => {
    const name = NAME.exec(reference)?.[1];
    if (name === undefined) throw new SecretUnavailable('a secret is named as secret://name');
    try {
      return (await readFile(join(folder, name), 'utf8')).trim();
    } catch (error) {
      throw new SecretUnavailable(`secret://${name} cannot be read`, { cause: error });
    }
  };
}

/** The same for what tenants name and typed in, too. */
export function allSecretsReader(folder: string, keyring: Keyring): ReadSecret {
  const ofOperator = secretReader(folder);
  const ofTenant = async (reference: string, tenantId: string): Promise<string> => {
    if (!TENANT.test(tenantId)) throw new SecretUnavailable('this tenant has no folder of secrets');
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
    // A list of secrets may name some and hold others.
    return resolveSecrets(opened, (reference) => ofTenant(String(reference), tenantId));
  };
}

/**
 * Tells whatever is secret in a tenant's own configuration whose it is, so that it leads to nobody else's. Said by the
 * row that it stands in, and never by itself.
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

/** Replaces every `secret://name` in a configuration, however deep, by the secret itself. */
export async function resolveSecrets<Value>(value: Value, read: ReadSecret): Promise<Value> {
  if (isSecretReference(value) || isTenantSecret(value) || isSealedSecret(value)) return (await read(value)) as Value;
  if (Array.isArray(value)) return (await Promise.all(value.map((item) => resolveSecrets(item, read)))) as Value;
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(async ([key, item]) => [key, await resolveSecrets(item, read)]);
  return Object.fromEntries(await Promise.all(entries)) as Value;
}
