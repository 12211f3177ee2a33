import { createECDH, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  acceptStream,
  agree,
  createOpener,
  createSealer,
  deriveKey,
  FRAME_LIMIT,
  openBytes,
  SealError,
  sealBytes,
  sealPayload,
} from '../../src/live/seal.ts';
import { projectRoot } from '../../src/project-root.ts';
import { streamVectors } from '../../tools/stream-vectors.ts';

interface Case {
  tcId: number;
  comment: string;
  result: 'valid' | 'invalid' | 'acceptable';
  [field: string]: unknown;
}

/** Returns all cases of a file, merged with the properties of their group. */
function casesOf(file: string): Case[] {
  const text = readFileSync(join(import.meta.dirname, 'wycheproof', file), 'utf8');
  const { testGroups } = JSON.parse(text) as { testGroups: ({ tests: Case[] } & Record<string, unknown>)[] };
  return testGroups.flatMap(({ tests, ...group }) => tests.map((test) => ({ ...group, ...test })));
}

const hex = (value: unknown): Buffer => Buffer.from(String(value), 'hex');

/** Returns the result as hex, or the code of the SealError. */
function outcomeOf(work: () => Buffer): string {
  try {
    return work().toString('hex');
  } catch (error) {
    if (error instanceof SealError) return error.code;
    throw error;
  }
}

/** Returns the cases with an unexpected result. */
const differing = (cases: Case[], expected: (test: Case) => string, work: (test: Case) => Buffer): object[] =>
  cases
    .map((test) => ({ case: `${test.tcId} ${test.comment}`, is: outcomeOf(() => work(test)), due: expected(test) }))
    .filter(({ is, due }) => is !== due);

const codeOf = (work: () => unknown): string =>
  outcomeOf(() => {
    work();
    return Buffer.alloc(0);
  });

describe('primitives pass the test vectors of Wycheproof', () => {
  describe('AES-256-GCM', () => {
    const cases = casesOf('aes_gcm_test.json');
    const isOurs = ({ keySize, ivSize }: Case): boolean => keySize === 256 && ivSize === 96;
    const ours = cases.filter(isOurs);
    const others = cases.filter((test) => !isOurs(test));

    it('has the expected number of cases, many of them invalid', () => {
      expect([ours.length, others.length]).toEqual([66, 250]);
      expect(ours.filter(({ result }) => result === 'invalid').length).toBeGreaterThan(20);
    });

    it('opens valid cases and refuses the others', () => {
      expect(
        differing(
          ours,
          ({ result, msg }) => (result === 'valid' ? String(msg) : 'frame_refused'),
          ({ key, iv, aad, ct, tag }) => openBytes(hex(key), hex(iv), Buffer.concat([hex(ct), hex(tag)]), hex(aad)),
        ),
      ).toEqual([]);
    });

    it('seals to the expected bytes', () => {
      expect(
        differing(
          ours.filter(({ result }) => result === 'valid'),
          ({ ct, tag }) => `${String(ct)}${String(tag)}`,
          ({ key, iv, aad, msg }) => sealBytes(hex(key), hex(iv), hex(msg), hex(aad)),
        ),
      ).toEqual([]);
    });

    it('refuses other sizes of key and nonce', () => {
      const refused = (): string => 'invalid_size';
      expect(
        differing(others, refused, ({ key, iv, aad, msg }) => sealBytes(hex(key), hex(iv), hex(msg), hex(aad))),
      ).toEqual([]);
      expect(
        differing(others, refused, ({ key, iv, aad, ct, tag }) =>
          openBytes(hex(key), hex(iv), Buffer.concat([hex(ct), hex(tag)]), hex(aad)),
        ),
      ).toEqual([]);
    });

    it('refuses a shortened tag', () => {
      const valid = ours.filter(({ result }) => result === 'valid');
      for (let bytes = 0; bytes < 16; bytes++) {
        expect(
          differing(
            valid,
            () => 'frame_refused',
            ({ key, iv, aad, ct, tag }) =>
              openBytes(hex(key), hex(iv), Buffer.concat([hex(ct), hex(tag).subarray(0, bytes)]), hex(aad)),
          ),
        ).toEqual([]);
      }
    });
  });

  describe('HKDF-SHA-256', () => {
    const cases = casesOf('hkdf_sha256_test.json');

    it('derives the expected keys and refuses a length above the limit', () => {
      expect(cases).toHaveLength(86);
      expect(cases.filter(({ result }) => result === 'invalid')).toHaveLength(3);
      expect(
        differing(
          cases,
          ({ result, okm }) => (result === 'valid' ? String(okm) : 'invalid_size'),
          ({ ikm, salt, info, size }) => deriveKey(hex(ikm), hex(salt), hex(info), size as number),
        ),
      ).toEqual([]);
    });

    it('refuses invalid lengths and an info that is too long', () => {
      const [ikm, salt] = [Buffer.alloc(32), Buffer.alloc(32)];
      for (const length of [0, -1, 1.5, Number.NaN]) {
        expect(codeOf(() => deriveKey(ikm, salt, Buffer.alloc(0), length))).toBe('invalid_size');
      }
      expect(deriveKey(ikm, salt, Buffer.alloc(1024), 32)).toHaveLength(32);
      expect(codeOf(() => deriveKey(ikm, salt, Buffer.alloc(1025), 32))).toBe('invalid_size');
    });
  });

  describe('ECDH over P-256', () => {
    const cases = casesOf('ecdh_secp256r1_ecpoint_test.json');
    // The scalars in the file are signed numbers of any length.
    const scalar = (value: unknown): Buffer => hex(String(value).replace(/^0+/, '').padStart(64, '0'));

    it('computes the secret for valid points and refuses invalid and compressed ones', () => {
      expect(cases).toHaveLength(355);
      expect(cases.filter(({ result }) => result === 'valid')).toHaveLength(330);
      // "acceptable" is a valid point in compressed form. It is refused, so that a key has exactly one representation.
      expect(cases.filter(({ result }) => result === 'acceptable')).toHaveLength(1);
      expect(
        differing(
          cases,
          ({ result, shared }) => (result === 'valid' ? String(shared) : 'invalid_key'),
          (test) => agree(scalar(test['private']), hex(test['public'])),
        ),
      ).toEqual([]);
    });

    it('refuses hybrid points, the point at infinity and private keys outside of the range', () => {
      const pair = createECDH('prime256v1');
      const point = pair.generateKeys();
      const secret = Buffer.from(pair.getPrivateKey().toString('hex').padStart(64, '0'), 'hex');
      const hybrid = Buffer.from(pair.getPublicKey(null, 'hybrid'));
      expect(codeOf(() => agree(secret, hybrid))).toBe('invalid_key');
      expect(codeOf(() => agree(secret, Buffer.alloc(1)))).toBe('invalid_key');
      expect(codeOf(() => agree(secret, Buffer.concat([Buffer.from([4]), Buffer.alloc(64)])))).toBe('invalid_key');
      for (const wrong of [Buffer.alloc(32), Buffer.alloc(32, 0xff), Buffer.alloc(31, 1), Buffer.alloc(33, 1)]) {
        expect(codeOf(() => agree(wrong, point))).toBe('invalid_key');
      }
    });
  });
});

const plaintexts = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 6 });
const key = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe('frames of one direction', () => {
  const seal = (secret: Uint8Array, messages: Uint8Array[]): Buffer[] => {
    const sealer = createSealer(secret);
    return messages.map((message) => sealer.seal(message));
  };

  it('are opened to the sealed texts, in order', () => {
    fc.assert(
      fc.property(key, plaintexts, (secret, messages) => {
        const opener = createOpener(secret);
        expect(seal(secret, messages).map((frame) => new Uint8Array(opener.open(frame)))).toEqual(messages);
      }),
    );
  });

  it('contain text as UTF-8', () => {
    fc.assert(
      fc.property(key, fc.string({ unit: 'binary' }), (secret, text) => {
        expect(createOpener(secret).open(createSealer(secret).seal(text)).toString()).toBe(text);
      }),
    );
  });

  it('are refused when any bit is flipped, and so are all later frames', () => {
    fc.assert(
      fc.property(key, plaintexts, fc.nat(), fc.nat(), (secret, messages, which, bit) => {
        const frames = seal(secret, messages);
        const opener = createOpener(secret);
        const at = which % frames.length;
        for (const frame of frames.slice(0, at)) opener.open(frame);
        const frame = frames[at] as Buffer;
        const changed = Buffer.from(frame);
        const byte = (bit >> 3) % frame.length;
        changed[byte] = (changed[byte] as number) ^ (1 << (bit & 7));
        expect(codeOf(() => opener.open(changed))).toBe('frame_refused');
        for (const later of frames.slice(at)) expect(codeOf(() => opener.open(later))).toBe('frame_refused');
      }),
    );
  });

  it('are refused when shortened or extended', () => {
    fc.assert(
      fc.property(key, fc.uint8Array({ maxLength: 40 }), fc.nat(), (secret, message, cut) => {
        const [frame] = seal(secret, [message]) as [Buffer];
        expect(codeOf(() => createOpener(secret).open(frame.subarray(0, cut % frame.length)))).toBe('frame_refused');
        expect(codeOf(() => createOpener(secret).open(frame.subarray(1)))).toBe('frame_refused');
        expect(codeOf(() => createOpener(secret).open(Buffer.concat([frame, Buffer.alloc(1)])))).toBe('frame_refused');
      }),
    );
  });

  it('are refused in any other order: swapped, repeated, or with one missing', () => {
    fc.assert(
      fc.property(key, fc.array(fc.nat({ max: 5 }), { minLength: 1, maxLength: 8 }), (secret, order) => {
        const frames = seal(
          secret,
          Array.from({ length: 6 }, () => Buffer.from('the same text')),
        );
        const opener = createOpener(secret);
        const inOrder = order.findIndex((which, place) => which !== place);
        const opened = inOrder === -1 ? order.length : inOrder;
        const outcomes = order.map((which) => codeOf(() => opener.open(frames[which] as Buffer)));
        expect(outcomes).toEqual(order.map((_, place) => (place < opened ? '' : 'frame_refused')));
      }),
    );
  });

  it('end before a nonce is repeated', () => {
    expect(FRAME_LIMIT).toBe(2 ** 31);
    const secret = randomBytes(32);
    const sealer = createSealer(secret, { limit: 2 });
    const opener = createOpener(secret, { limit: 2 });
    for (const text of ['first', 'second']) expect(opener.open(sealer.seal(text)).toString()).toBe(text);
    expect(codeOf(() => sealer.seal('third'))).toBe('key_spent');
    expect(codeOf(() => sealer.seal('fourth'))).toBe('key_spent');
    expect(codeOf(() => opener.open(Buffer.alloc(16)))).toBe('key_spent');
  });

  it('require a key of 32 bytes', () => {
    for (const make of [createSealer, createOpener]) expect(codeOf(() => make(Buffer.alloc(16)))).toBe('invalid_size');
  });
});

describe('handshake', () => {
  const client = createECDH('prime256v1');
  const clientPublicKey = client.generateKeys().toString('base64url');
  const peer = { clientPublicKey, tenantId: 'tenant', userId: 'user' };
  const keyPair = { privateKey: Buffer.alloc(32, 7) };
  const salt = Buffer.alloc(32, 9);
  const firstFrame = (options: Parameters<typeof acceptStream>[0]): string =>
    acceptStream(options).sealer.seal('').toString('hex');

  it('creates a new key pair and salt for each connection', () => {
    const [one, other] = [acceptStream(peer), acceptStream(peer)];
    expect(one.serverPublicKey).not.toBe(other.serverPublicKey);
    expect(one.salt).not.toBe(other.salt);
    expect(Buffer.from(one.serverPublicKey, 'base64url')).toHaveLength(65);
    expect(Buffer.from(one.salt, 'base64url')).toHaveLength(32);
  });

  it('derives a different key for each direction', () => {
    const { sealer, opener } = acceptStream(peer);
    const frame = sealer.seal('to the client');
    expect(codeOf(() => opener.open(frame))).toBe('frame_refused');
  });

  it('derives different keys for another tenant, user, salt or server key, and for another split between the two ids', () => {
    const same = { ...peer, keyPair, salt };
    const frames = [
      same,
      { ...same, tenantId: 'tenanu' },
      { ...same, userId: 'users' },
      { ...same, tenantId: 'tenantu', userId: 'ser' },
      { ...same, tenantId: '' },
      { ...same, salt: Buffer.alloc(32, 8) },
      { ...same, keyPair: { privateKey: Buffer.alloc(32, 6) } },
    ].map(firstFrame);
    expect(new Set(frames).size).toBe(frames.length);
    expect(firstFrame(same)).toBe(frames[0]);
  });

  it('refuses a public key in non-canonical base64url', () => {
    const bytes = Buffer.from(clientPublicKey, 'base64url');
    const spellings = ['', 'AAAA', `${clientPublicKey}=`, ` ${clientPublicKey}`, bytes.toString('hex')];
    for (const spelling of spellings) {
      expect(codeOf(() => acceptStream({ ...peer, clientPublicKey: spelling }))).toBe('invalid_key');
    }
    const offCurve = Buffer.concat([Buffer.from([4]), Buffer.alloc(64, 1)]).toString('base64url');
    expect(codeOf(() => acceptStream({ ...peer, clientPublicKey: offCurve }))).toBe('invalid_key');
  });

  it('refuses ids that are too long and a salt of another size', () => {
    for (const length of [1_000, 70_000]) {
      expect(codeOf(() => acceptStream({ ...peer, userId: 'x'.repeat(length) }))).toBe('invalid_size');
      expect(codeOf(() => acceptStream({ ...peer, tenantId: 'x'.repeat(length) }))).toBe('invalid_size');
    }
    expect(codeOf(() => acceptStream({ ...peer, salt: Buffer.alloc(16) }))).toBe('invalid_size');
  });

  it('derives a different key for each payload', () => {
    const [one, other] = [sealPayload({ ...peer, plaintext: 'x' }), sealPayload({ ...peer, plaintext: 'x' })];
    expect(one.ciphertext).not.toBe(other.ciphertext);
    const payload = sealPayload({ ...peer, keyPair, salt, plaintext: '' });
    expect(Buffer.from(payload.ciphertext, 'base64url').toString('hex')).not.toBe(
      firstFrame({ ...peer, keyPair, salt }),
    );
  });
});

describe('schema/stream-vectors.json', () => {
  it('is up to date with `npm run vectors`', () => {
    const published = readFileSync(join(projectRoot, 'schema', 'stream-vectors.json'), 'utf8');
    expect(JSON.parse(published)).toEqual(JSON.parse(JSON.stringify(streamVectors())));
  });
});
