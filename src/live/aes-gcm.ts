import { createCipheriv, createDecipheriv } from 'node:crypto';

/** AES-256-GCM on bytes where they lie: a frame is a text and behind it 16 bytes, which are its tag once it is sealed. */
export interface AesGcm {
  /** @param key 32 bytes @param nonce 12 bytes, never twice with this key */
  seal(key: Uint8Array, nonce: Uint8Array, frame: Uint8Array, aad?: Uint8Array): void;
  /** @returns false where the tag does not fit; then nothing of the text is left. */
  open(key: Uint8Array, nonce: Uint8Array, frame: Uint8Array, aad?: Uint8Array): boolean;
}

const CIPHER = 'aes-256-gcm';
export const KEY_BYTES = 32;
export const NONCE_BYTES = 12;
/** What sealing adds to a text. */
export const TAG_BYTES = 16;
const OPTIONS = { authTagLength: TAG_BYTES };

/** Wherever Node runs. Makes an object and three buffers outside the heap for each frame. */
export const nodeCrypto: AesGcm = {
  seal: (key, nonce, frame, aad) => {
    const end = frame.length - TAG_BYTES;
    const cipher = createCipheriv(CIPHER, key, nonce, OPTIONS);
    if (aad) cipher.setAAD(aad);
    frame.set(cipher.update(frame.subarray(0, end)));
    cipher.final();
    frame.set(cipher.getAuthTag(), end);
  },
  open: (key, nonce, frame, aad) => {
    const end = frame.length - TAG_BYTES;
    const decipher = createDecipheriv(CIPHER, key, nonce, OPTIONS);
    if (aad) decipher.setAAD(aad);
    decipher.setAuthTag(frame.subarray(end));
    const text = decipher.update(frame.subarray(0, end));
    try {
      decipher.final();
    } catch {
      text.fill(0);
      frame.fill(0);
      return false;
    }
    frame.set(text);
    return true;
  },
};
