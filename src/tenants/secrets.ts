import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { Keyring, Sealed } from '../keyring.ts';

/** A secret that is named but cannot be had. Says its name and never its value. */
export class SecretUnavailable extends Error {}

/** What an admin typed in, as it lies in the database. */
export interface SealedSecret {
  $sealed: Sealed;
  /** The tenant that it is of: for another it does not open. Said by the row that it stands in, and not by itself. */
  tenantId?: string;
}

/**
 * Reads `secret://name` from the mounted folder, at every use, so that a rotated secret needs no restart; and opens what
 * is sealed.
 */
export type ReadSecret = (reference: string | SealedSecret) => Promise<unknown>;

export function secretReader(folder: string): (reference: string) => Promise<string> {
  return async (reference) => {
    const name = /^secret:\/\/([A-Za-z0-9][A-Za-z0-9._-]*)$/.exec(reference)?.[1];
    if (name === undefined) throw new SecretUnavailable('a secret is named as secret://name');
    try {
      return (await readFile(join(folder, name), 'utf8')).trim();
    } catch (error) {
      throw new SecretUnavailable(`secret://${name} cannot be read`, { cause: error });
    }
  };
}

/** The same, and opens what is sealed. */
export function allSecretsReader(folder: string, keyring: Keyring): ReadSecret {
  const readReference = secretReader(folder);
  return async (secret) => {
    if (typeof secret === 'string') return readReference(secret);
    let opened: unknown;
    try {
      opened = JSON.parse(keyring.open(secret.$sealed, secret.tenantId ?? ''));
    } catch (error) {
      throw new SecretUnavailable((error as Error).message, { cause: error });
    }
    // A list of secrets may name some and hold others.
    return resolveSecrets(opened, (reference) => readReference(String(reference)));
  };
}

export const isSealedSecret = (value: unknown): value is SealedSecret =>
  typeof value === 'object' && value !== null && '$sealed' in value;

export const isSecretReference = (value: unknown): value is string =>
  typeof value === 'string' && value.startsWith('secret://');

/** Replaces every `secret://name` in a configuration, however deep, by the secret itself. */
export async function resolveSecrets<Value>(value: Value, read: ReadSecret): Promise<Value> {
  if (isSecretReference(value) || isSealedSecret(value)) return (await read(value)) as Value;
  if (Array.isArray(value)) return (await Promise.all(value.map((item) => resolveSecrets(item, read)))) as Value;
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(async ([key, item]) => [key, await resolveSecrets(item, read)]);
  return Object.fromEntries(await Promise.all(entries)) as Value;
}
