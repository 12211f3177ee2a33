import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import {
  type Agreement,
  type Bytes,
  createPayloadKeys,
  fromBase64Url,
  type Key,
  openSealedPayload,
  openStream,
  readUtf8,
  toBase64Url,
  utf8,
} from '../../client/seal.ts';

type Plaintext = string | { repeat: string; count: number };
type Digest = string | { length: number; sha256: string };

interface Keys {
  name: string;
  clientPrivateKey: string;
  clientPublicKey: string;
  serverPrivateKey: string;
  serverPublicKey: string;
  salt: string;
  tenantId: string;
  userId: string;
}

interface Frame {
  plaintext: Plaintext;
  frame: Digest;
}

type Direction = 'clientToServer' | 'serverToClient';

interface Vectors {
  streams: (Keys & Record<Direction, Frame[]> & Record<'clientToServerKey' | 'serverToClientKey', string>)[];
  payloads: (Keys & { plaintext: string; ciphertext: string })[];
  refused: { name: string; stream: string; direction: Direction; frames: string[] }[];
}

const { streams, payloads, refused } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../schema/stream-vectors.json'), 'utf8'),
) as Vectors;

const expand = (plaintext: Plaintext): string =>
  typeof plaintext === 'string' ? plaintext : plaintext.repeat.repeat(plaintext.count);

async function importPrivateKey(scalar: string, point: string): Promise<Key> {
  const bytes = fromBase64Url(point);
  const jwk = {
    kty: 'EC',
    crv: 'P-256',
    d: scalar,
    x: toBase64Url(bytes.subarray(1, 33)),
    y: toBase64Url(bytes.subarray(33)),
  };
  return crypto.subtle.importKey('jwk', jwk, { name: 'ECDH', namedCurve: 'P-256' }, false, ['deriveBits']);
}

const agreementOf = async (vector: Keys): Promise<Agreement> => ({
  ...vector,
  privateKey: await importPrivateKey(vector.clientPrivateKey, vector.clientPublicKey),
});

/** Encodes a frame in the same form as its vector: base64url, or length and hash. */
async function asGiven(frame: Bytes, given: Digest): Promise<Digest> {
  if (typeof given === 'string') return toBase64Url(frame);
  const sha256 = new Uint8Array(await crypto.subtle.digest('SHA-256', frame));
  return { length: frame.length, sha256: toBase64Url(sha256) };
}

/** Seals frames of the server with WebCrypto alone, with the key of the vector. */
async function serverFrames(key: string, plaintexts: string[]): Promise<Bytes[]> {
  const secret = await crypto.subtle.importKey('raw', fromBase64Url(key), 'AES-GCM', false, ['encrypt']);
  return Promise.all(
    plaintexts.map(async (plaintext, counter) => {
      const iv = new Uint8Array(12);
      new DataView(iv.buffer).setUint32(8, counter);
      return new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, secret, utf8(plaintext)));
    }),
  );
}

describe('the client, tested with the published vectors', () => {
  it('has the expected number of vectors', () => {
    expect([streams.length, payloads.length, refused.length]).toEqual([4, 2, 10]);
  });

  it.each(streams)('seals the expected frames: $name', async (vector) => {
    const { sealer } = await openStream(await agreementOf(vector));
    expect(vector.clientToServer).not.toHaveLength(0);
    for (const { plaintext, frame } of vector.clientToServer) {
      expect(await asGiven(await sealer.seal(utf8(expand(plaintext))), frame)).toEqual(frame);
    }
  });

  it.each(streams)('opens frames to the expected text: $name', async (vector) => {
    const { opener } = await openStream(await agreementOf(vector));
    const texts = vector.serverToClient.map(({ plaintext }) => expand(plaintext));
    const frames = await serverFrames(vector.serverToClientKey, texts);
    const opened: string[] = [];
    for (const [index, frame] of frames.entries()) {
      const given = vector.serverToClient[index]?.frame ?? '';
      expect(await asGiven(frame, given)).toEqual(given);
      opened.push(readUtf8(await opener.open(frame)));
    }
    expect(opened).toEqual(texts);
  });

  it.each(refused)('refuses an invalid frame and all later ones: $name', async ({ stream, frames }) => {
    const vector = streams.find(({ name }) => name === stream) as Vectors['streams'][number];
    const { opener } = await openStream(await agreementOf(vector));
    for (const frame of frames.slice(0, -1)) await opener.open(fromBase64Url(frame));
    await expect(opener.open(fromBase64Url(frames.at(-1) ?? ''))).rejects.toMatchObject({ code: 'frame_refused' });
    const [good] = await serverFrames(vector.serverToClientKey, ['{}']);
    await expect(opener.open(good as Bytes)).rejects.toMatchObject({ code: 'frame_refused' });
  });

  it.each(payloads)('opens a sealed payload, and refuses it with any wrong input: $name', async (vector) => {
    const { privateKey } = await agreementOf(vector);
    const payload = { serverPublicKey: vector.serverPublicKey, salt: vector.salt, ciphertext: vector.ciphertext };
    expect(await openSealedPayload({ ...vector, privateKey, payload })).toBe(vector.plaintext);

    const refusals: [object, string][] = [
      [{ userId: 'somebody else' }, 'frame_refused'],
      [{ tenantId: 'another' }, 'frame_refused'],
      [{ payload: { ...payload, ciphertext: `A${payload.ciphertext.slice(1)}` } }, 'frame_refused'],
      [{ payload: { ...payload, ciphertext: '!' } }, 'frame_refused'],
      [{ payload: { ...payload, salt: payload.salt.slice(4) } }, 'invalid_key'],
      [{ payload: { ...payload, serverPublicKey: toBase64Url(new Uint8Array(65).fill(4)) } }, 'invalid_key'],
      [{ payload: { ...payload, serverPublicKey: toBase64Url(new Uint8Array(65)) } }, 'invalid_key'],
      [await createPayloadKeys(), 'frame_refused'],
      [{ userId: 'x'.repeat(2_000) }, 'invalid_size'],
    ];
    for (const [change, code] of refusals) {
      await expect(openSealedPayload({ ...vector, privateKey, payload, ...change })).rejects.toMatchObject({ code });
    }
  });

  it('creates a new key pair each time, whose private key cannot be exported', async () => {
    const [one, other] = await Promise.all([createPayloadKeys(), createPayloadKeys()]);
    expect(one.clientPublicKey).not.toBe(other.clientPublicKey);
    expect(fromBase64Url(one.clientPublicKey)).toHaveLength(65);
    expect(one.privateKey.extractable).toBe(false);
  });

  it('accepts only canonical base64url without padding', () => {
    for (const text of ['A', 'AB', 'AA==', 'A+/A', 'AA A', '\u{1F44B}'])
      expect(() => fromBase64Url(text)).toThrow(TypeError);
    expect(fromBase64Url('-_8')).toEqual(new Uint8Array([0xfb, 0xff]));
  });
});
