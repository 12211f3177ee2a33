import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A secret that is named but cannot be had. Says its name and never its value. */
export class SecretUnavailable extends Error {}

/** Reads `secret://name` from the mounted folder, at every use, so that a rotated secret needs no restart. */
export type ReadSecret = (reference: string) => Promise<string>;

export function secretReader(folder: string): ReadSecret {
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

export const isSecretReference = (value: unknown): value is string =>
  typeof value === 'string' && value.startsWith('secret://');

/** Replaces every `secret://name` in a configuration, however deep, by the secret itself. */
export async function resolveSecrets<Value>(value: Value, read: ReadSecret): Promise<Value> {
  if (isSecretReference(value)) return (await read(value)) as Value;
  if (Array.isArray(value)) return (await Promise.all(value.map((item) => resolveSecrets(item, read)))) as Value;
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(async ([key, item]) => [key, await resolveSecrets(item, read)]);
  return Object.fromEntries(await Promise.all(entries)) as Value;
}
