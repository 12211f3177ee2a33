import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type AesGcm, KEY_BYTES, NONCE_BYTES, nodeCrypto, TAG_BYTES } from '../../src/live/aes-gcm.ts';
import { loadOpenSsl } from '../../src/live/openssl.ts';

const openSsl = loadOpenSsl();
const bytes = (size: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: size, maxLength: size });
const key = bytes(KEY_BYTES);
const nonce = bytes(NONCE_BYTES);
const text = fc.uint8Array({ maxLength: 2_000 });
const aad = fc.option(fc.uint8Array({ maxLength: 100 }), { nil: undefined });

const frameOf = (content: Uint8Array): Buffer => Buffer.concat([content, Buffer.alloc(TAG_BYTES)]);

describe('AES-256-GCM', () => {
  it('uses OpenSSL on every platform with a build of koffi', () => {
    expect(openSsl).toBeDefined();
  });

  it('gives the same bytes with OpenSSL and node:crypto', () => {
    fc.assert(
      fc.property(key, nonce, text, aad, (secret, once, content, about) => {
        const [one, other] = [frameOf(content), frameOf(content)];
        nodeCrypto.seal(secret, once, one, about);
        openSsl?.seal(secret, once, other, about);
        expect(other.equals(one)).toBe(true);
      }),
    );
  });

  const both: [string, AesGcm][] = [['node:crypto', nodeCrypto]];
  if (openSsl) both.push(['OpenSSL', openSsl]);
  describe.each(both)('with %s', (_name, aesGcm) => {
    it('opens a sealed frame and changes no byte around it', () => {
      fc.assert(
        fc.property(key, nonce, text, aad, (secret, once, content, about) => {
          const around = Buffer.concat([Buffer.from('before'), frameOf(content), Buffer.from('after')]);
          const frame = around.subarray('before'.length, -'after'.length);
          aesGcm.seal(secret, once, frame, about);
          expect(aesGcm.open(secret, once, frame, about)).toBe(true);
          expect(frame.subarray(0, -TAG_BYTES).equals(content)).toBe(true);
          expect(around.toString('latin1')).toMatch(/^before.*after$/s);
        }),
      );
    });

    it('refuses a frame and clears it when any bit of the frame, key, nonce or aad is changed', () => {
      const about = fc.uint8Array({ minLength: 1, maxLength: 40 });
      fc.assert(
        fc.property(key, nonce, text, about, fc.nat(3), fc.nat(), (secret, once, content, named, which, bit) => {
          const frame = frameOf(content);
          aesGcm.seal(secret, once, frame, named);
          const changed = [frame, secret, once, named][which] as Uint8Array;
          const at = (bit >> 3) % changed.length;
          changed[at] = (changed[at] as number) ^ (1 << (bit & 7));
          expect(aesGcm.open(secret, once, frame, named)).toBe(false);
          expect(frame.every((byte) => byte === 0)).toBe(true);
        }),
      );
    });

    it('still works after a refused frame', () => {
      const [secret, once, frame] = [
        Buffer.alloc(KEY_BYTES, 1),
        Buffer.alloc(NONCE_BYTES, 2),
        frameOf(Buffer.from('x')),
      ];
      expect(aesGcm.open(secret, once, Buffer.alloc(TAG_BYTES))).toBe(false);
      aesGcm.seal(secret, once, frame);
      expect(aesGcm.open(secret, once, frame)).toBe(true);
    });
  });

  it('does not read beyond the given buffers', () => {
    const sizes = [
      [KEY_BYTES - 1, NONCE_BYTES, TAG_BYTES],
      [KEY_BYTES, NONCE_BYTES - 1, TAG_BYTES],
      [KEY_BYTES, NONCE_BYTES, TAG_BYTES - 1],
    ] as const;
    for (const [ofKey, ofNonce, ofFrame] of sizes) {
      for (const way of ['seal', 'open'] as const) {
        expect(() => openSsl?.[way](Buffer.alloc(ofKey), Buffer.alloc(ofNonce), Buffer.alloc(ofFrame))).toThrow(
          RangeError,
        );
      }
    }
  });
});
