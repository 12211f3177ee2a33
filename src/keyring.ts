import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/** An encrypted text. */
export interface Sealed {
  /** Id of the key. */
  key: string;
  /** Nonce and data are base64url. */
  nonce: string;
  data: string;
}

/** Keys that encrypt values in the database. The first encrypts, all decrypt. */
export interface Keyring {
  /** Id of the key that encrypts; undefined when there are no keys. */
  readonly currentKey: string | undefined;
  /**
   * Encrypts a text.
   * @param context authenticated data, e.g. the tenant. `open` needs the same context.
   * @throws {KeyUnavailable} when there are no keys.
   */
  seal(text: string, context: string): Sealed;
  /** Decrypts a text. @throws {KeyUnavailable} when the key is missing, or the data or context has changed. */
  open(sealed: Sealed, context: string): string;
}

/** A value cannot be encrypted or decrypted. The message contains the id of the key but no data. */
export class KeyUnavailable extends Error {}

export interface DataKey {
  id: string;
  /** 32 bytes: AES-256-GCM. */
  key: Buffer;
}

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export function createKeyring(keys: readonly DataKey[]): Keyring {
  const byId = new Map(keys.map(({ id, key }) => [id, key]));
  const [current] = keys;
  return {
    currentKey: current?.id,
    seal: (text, context) => {
      if (!current) throw new KeyUnavailable('no key to encrypt with, set DATA_KEYS');
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', current.key, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(Buffer.from(context));
      const data = Buffer.concat([cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
      return { key: current.id, nonce: nonce.toString('base64url'), data: data.toString('base64url') };
    },
    open: ({ key: id, nonce, data }, context) => {
      const key = byId.get(id);
      if (!key) throw new KeyUnavailable(`the key ${id} is missing in DATA_KEYS`);
      const bytes = Buffer.from(data, 'base64url');
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(nonce, 'base64url'), {
          authTagLength: TAG_BYTES,
        });
        decipher.setAAD(Buffer.from(context));
        decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
        return Buffer.concat([decipher.update(bytes.subarray(0, -TAG_BYTES)), decipher.final()]).toString();
      } catch (error) {
        throw new KeyUnavailable(`data encrypted with the key ${id} was changed, or belongs to another tenant or row`, {
          cause: error,
        });
      }
    },
  };
}

/**
 * Parses `id:base64,id:base64`.
 *
 * @throws when the format is wrong. The message contains no key.
 */
export function parseDataKeys(text: string): DataKey[] {
  return text.split(',').map((part) => {
    const [, id, encoded] = /^\s*([A-Za-z0-9._-]{1,64}):([A-Za-z0-9+/_-]+=*)\s*$/.exec(part) ?? [];
    const key = Buffer.from(encoded ?? '', 'base64');
    if (id === undefined || key.length !== 32)
      throw new Error('must be id:key, comma separated, each key 32 bytes in base64');
    return { id, key };
  });
}
