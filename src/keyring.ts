import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/** A text that was encrypted: JSON, with the id of the key that opens it. All but the id is base64url. */
export interface Sealed {
  key: string;
  nonce: string;
  data: string;
}

/** Keys for what lies in the database encrypted. The first encrypts, all of them open. */
export interface Keyring {
  /** Of the key that encrypts now; undefined where there is none. */
  readonly currentKey: string | undefined;
  /**
   * @param context where the text belongs, e.g. its tenant: elsewhere it does not open.
   * @throws where there is no key.
   */
  seal(text: string, context: string): Sealed;
  /** @throws {KeyUnavailable} where its key is not there, or it was changed or moved. */
  open(sealed: Sealed, context: string): string;
}

/** Something encrypted that cannot be opened. Names the key, and nothing of what it is. */
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
      if (!current) throw new KeyUnavailable('there is no key to encrypt with (DATA_KEYS)');
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', current.key, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(Buffer.from(context));
      const data = Buffer.concat([cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
      return { key: current.id, nonce: nonce.toString('base64url'), data: data.toString('base64url') };
    },
    open: ({ key: id, nonce, data }, context) => {
      const key = byId.get(id);
      if (!key) throw new KeyUnavailable(`the key ${id} is not there (DATA_KEYS)`);
      const bytes = Buffer.from(data, 'base64url');
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(nonce, 'base64url'), {
          authTagLength: TAG_BYTES,
        });
        decipher.setAAD(Buffer.from(context));
        decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
        return Buffer.concat([decipher.update(bytes.subarray(0, -TAG_BYTES)), decipher.final()]).toString();
      } catch (error) {
        throw new KeyUnavailable(`what the key ${id} encrypted was changed`, { cause: error });
      }
    },
  };
}

/**
 * Reads `id:base64,id:base64`.
 *
 * @throws where it is anything else; the message holds no key.
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
