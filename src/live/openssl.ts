import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';

import { type AesGcm, KEY_BYTES, NONCE_BYTES, nodeCrypto, TAG_BYTES } from './aes-gcm.ts';

/*
 * AES-256-GCM through direct calls of the OpenSSL library in Node.js. For each frame node:crypto allocates a cipher
 * object and three off-heap buffers and cannot write into a given buffer. For a message to 1000 sealed sockets that
 * costs several times as much as the encryption. This module reuses one context and works in place.
 */

// Constants of openssl/evp.h.
const GET_TAG = 0x10;
const SET_TAG = 0x11;

/** Loads OpenSSL. @returns undefined when it cannot be called, e.g. on a platform for which koffi has no build. */
export function loadOpenSsl(): AesGcm | undefined {
  try {
    const found = openSsl();
    return agrees(found) ? found : undefined;
  } catch {
    return undefined;
  }
}

function openSsl(): AesGcm {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  const library = koffi.load(null);
  const evp = {
    newContext: library.func('void *EVP_CIPHER_CTX_new(void)'),
    aes256Gcm: library.func('void *EVP_aes_256_gcm(void)'),
    control: library.func('int EVP_CIPHER_CTX_ctrl(void *context, int type, int size, void *bytes)'),
    encryptInit: library.func(
      'int EVP_EncryptInit_ex(void *context, void *cipher, void *engine, void *key, void *nonce)',
    ),
    encryptUpdate: library.func('int EVP_EncryptUpdate(void *context, void *to, void *written, void *from, int size)'),
    encryptFinal: library.func('int EVP_EncryptFinal_ex(void *context, void *to, void *written)'),
    decryptInit: library.func(
      'int EVP_DecryptInit_ex(void *context, void *cipher, void *engine, void *key, void *nonce)',
    ),
    decryptUpdate: library.func('int EVP_DecryptUpdate(void *context, void *to, void *written, void *from, int size)'),
    decryptFinal: library.func('int EVP_DecryptFinal_ex(void *context, void *to, void *written)'),
  };
  const must = (result: unknown): void => {
    if (result !== 1) throw new Error(`an OpenSSL call returned ${String(result)}, expected 1`);
  };
  const [sealing, opening] = [evp.newContext(), evp.newContext()];
  must(evp.encryptInit(sealing, evp.aes256Gcm(), null, null, null));
  must(evp.decryptInit(opening, evp.aes256Gcm(), null, null, null));
  /** Output parameter: an int, always equal to the input size, because GCM does not buffer. */
  const written = Buffer.alloc(4);
  const tag = Buffer.alloc(TAG_BYTES);

  return {
    seal: (key, nonce, frame, aad) => {
      checkBounds(key, nonce, frame);
      const end = frame.length - TAG_BYTES;
      must(evp.encryptInit(sealing, null, null, key, nonce));
      if (aad?.length) must(evp.encryptUpdate(sealing, null, written, aad, aad.length));
      must(evp.encryptUpdate(sealing, frame, written, frame, end));
      must(evp.encryptFinal(sealing, tag, written));
      must(evp.control(sealing, GET_TAG, TAG_BYTES, tag));
      frame.set(tag, end);
    },
    open: (key, nonce, frame, aad) => {
      checkBounds(key, nonce, frame);
      const end = frame.length - TAG_BYTES;
      tag.set(frame.subarray(end));
      must(evp.decryptInit(opening, null, null, key, nonce));
      must(evp.control(opening, SET_TAG, TAG_BYTES, tag));
      if (aad?.length) must(evp.decryptUpdate(opening, null, written, aad, aad.length));
      must(evp.decryptUpdate(opening, frame, written, frame, end));
      const isOpen = evp.decryptFinal(opening, tag, written) === 1;
      if (!isOpen) frame.fill(0);
      return isOpen;
    },
  };
}

/** OpenSSL does not know the sizes of buffers, so they are checked here. */
function checkBounds(key: Uint8Array, nonce: Uint8Array, frame: Uint8Array): void {
  if (key.length !== KEY_BYTES || nonce.length !== NONCE_BYTES || frame.length < TAG_BYTES) {
    throw new RangeError('the key must have 32 bytes, the nonce 12 and the frame at least 16');
  }
}

/** Tests once at start that the implementation gives the same results as node:crypto. */
function agrees(candidate: AesGcm): boolean {
  const [key, nonce, text] = [randomBytes(KEY_BYTES), randomBytes(NONCE_BYTES), randomBytes(100)];
  const frames = [candidate, nodeCrypto].map((each) => {
    const frame = Buffer.concat([text, Buffer.alloc(TAG_BYTES)]);
    each.seal(key, nonce, frame);
    return frame;
  }) as [Buffer, Buffer];
  return frames[0].equals(frames[1]) && candidate.open(key, nonce, frames[0]) && frames[0].indexOf(text) === 0;
}
