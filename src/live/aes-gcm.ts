import { createCipheriv, createDecipheriv } from 'node:crypto';

/** In-place AES-256-GCM. A frame is the text followed by 16 bytes, which hold the tag after sealing. */
export interface AesGcm {
  /** @param key 32 bytes @param nonce 12 bytes, never twice with this key */
  seal(key: Uint8Array, nonce: Uint8Array, frame: Uint8Array, aad?: Uint8Array): void;
  /** Verifies and decrypts a frame. @returns false when the tag is wrong; the frame is then filled with zeros. */
  open(key: Uint8Array, nonce: Uint8Array, frame: Uint8Array, aad?: Uint8Array): boolean;
}

const CIPHER = 'aes-256-gcm';
export const KEY_BYTES = 32;
export const NONCE_BYTES = 12;
export const TAG_BYTES = 16;
const OPTIONS = { authTagLength: TAG_BYTES };

/** Portable implementation. It allocates a cipher object and three off-heap buffers for each frame. */
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
