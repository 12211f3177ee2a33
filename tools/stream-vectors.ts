import { createECDH, createHash } from 'node:crypto';

import { acceptStream, agree, deriveKey, sealBytes, sealPayload } from '../src/live/seal.ts';

/*
 * Content of schema/stream-vectors.json: complete handshakes with fixed secrets, as test vectors for implementations in
 * any language. schema/stream-protocol.md explains each field.
 */

type Direction = 'clientToServer' | 'serverToClient';
/** A long text is written as a repeated part. */
type Plaintext = string | { repeat: string; count: number };

interface Keys {
  clientPrivateKey: string;
  clientPublicKey: string;
  serverPrivateKey: string;
  serverPublicKey: string;
  salt: string;
  tenantId: string;
  userId: string;
  sharedSecret: string;
  info: string;
}

export interface VectorFrame {
  nonce: string;
  plaintext: Plaintext;
  /** base64url; for a long frame its length and SHA-256. */
  frame: string | { length: number; sha256: string };
}

export interface StreamVector extends Keys {
  name: string;
  clientToServerKey: string;
  serverToClientKey: string;
  clientToServer: VectorFrame[];
  serverToClient: VectorFrame[];
}

export interface PayloadVector extends Keys {
  name: string;
  key: string;
  plaintext: Plaintext;
  ciphertext: string;
}

export interface RefusedVector {
  name: string;
  /** Name of the stream whose keys are used. */
  stream: string;
  direction: Direction;
  /** Frames in order of arrival. The last one must be refused, all others accepted. */
  frames: string[];
}

export interface StreamVectors {
  protocol: string;
  streams: StreamVector[];
  payloads: PayloadVector[];
  refused: RefusedVector[];
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
const fixedBytes = (label: string): Buffer => createHash('sha256').update(`nsg1 vector: ${label}`).digest();

/** Expands the plaintext of a vector. */
export const expand = (plaintext: Plaintext): string =>
  typeof plaintext === 'string' ? plaintext : plaintext.repeat.repeat(plaintext.count);

function publicKeyOf(privateKey: Buffer): string {
  const pair = createECDH('prime256v1');
  pair.setPrivateKey(privateKey);
  return text(pair.getPublicKey());
}

interface Secrets {
  name: string;
  tenantId: string;
  userId: string;
}

/** Computes the intermediate values from the primitives, for debugging of other implementations. */
function keysOf({ name, tenantId, userId }: Secrets, protocol: string, length: number): { keys: Keys; key: Buffer } {
  const [client, server, salt] = ['client', 'server', 'salt'].map((what) => fixedBytes(`${name}, ${what}`)) as [
    Buffer,
    Buffer,
    Buffer,
  ];
  const [clientPublicKey, serverPublicKey] = [publicKeyOf(client), publicKeyOf(server)];
  const sharedSecret = agree(server, Buffer.from(clientPublicKey, 'base64url'));
  const info = Buffer.concat([
    Buffer.from(protocol),
    ...[tenantId, userId].flatMap((id) => {
      const bytes = Buffer.from(id);
      return [Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes];
    }),
    Buffer.from(clientPublicKey, 'base64url'),
    Buffer.from(serverPublicKey, 'base64url'),
  ]);
  return {
    keys: {
      clientPrivateKey: text(client),
      clientPublicKey,
      serverPrivateKey: text(server),
      serverPublicKey,
      salt: text(salt),
      tenantId,
      userId,
      sharedSecret: text(sharedSecret),
      info: text(info),
    },
    key: deriveKey(sharedSecret, salt, info, length),
  };
}

const nonceOf = (counter: number): Buffer => {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32BE(counter, 8);
  return nonce;
};

/** Maximum size of a frame that is written in full, in bytes. Longer ones are written as their digest. */
const MAX_INLINE_BYTES = 1_000;

function streamVector(
  secrets: Secrets,
  toServer: Plaintext[],
  toClient: Plaintext[],
): { vector: StreamVector; raw: Record<Direction, Buffer[]> } {
  const { keys, key } = keysOf(secrets, 'nsg1', 64);
  const { sealer } = acceptStream({
    ...secrets,
    clientPublicKey: keys.clientPublicKey,
    keyPair: { privateKey: Buffer.from(keys.serverPrivateKey, 'base64url') },
    salt: Buffer.from(keys.salt, 'base64url'),
  });
  const [clientKey, serverKey] = [key.subarray(0, 32), key.subarray(32)];
  const raw = {
    clientToServer: toServer.map((plaintext, counter) => sealBytes(clientKey, nonceOf(counter), expand(plaintext))),
    serverToClient: toClient.map((plaintext) => sealer.seal(expand(plaintext))),
  };
  const frames = (plaintexts: Plaintext[], sealed: Buffer[]): VectorFrame[] =>
    sealed.map((bytes, counter) => ({
      nonce: text(nonceOf(counter)),
      plaintext: plaintexts[counter] as Plaintext,
      frame:
        bytes.length <= MAX_INLINE_BYTES
          ? text(bytes)
          : { length: bytes.length, sha256: text(createHash('sha256').update(bytes).digest()) },
    }));
  const vector: StreamVector = {
    name: secrets.name,
    ...keys,
    clientToServerKey: text(clientKey),
    serverToClientKey: text(serverKey),
    clientToServer: frames(toServer, raw.clientToServer),
    serverToClient: frames(toClient, raw.serverToClient),
  };
  return { vector, raw };
}

function payloadVector(secrets: Secrets, plaintext: string): PayloadVector {
  const { keys, key } = keysOf(secrets, 'nsg1-payload', 32);
  const { ciphertext } = sealPayload({
    ...secrets,
    clientPublicKey: keys.clientPublicKey,
    keyPair: { privateKey: Buffer.from(keys.serverPrivateKey, 'base64url') },
    salt: Buffer.from(keys.salt, 'base64url'),
    plaintext,
  });
  return { name: secrets.name, ...keys, key: text(key), plaintext, ciphertext };
}

function refusedVectors(
  name: string,
  { clientToServer, serverToClient }: Record<Direction, Buffer[]>,
): RefusedVector[] {
  const [first, second] = serverToClient as [Buffer, Buffer];
  const flip = (frame: Buffer, at: number): Buffer => {
    const flipped = Buffer.from(frame);
    flipped[at] = (flipped[at] as number) ^ 1;
    return flipped;
  };
  const cases: [string, Buffer[]][] = [
    ['tag cut by one byte', [first.subarray(0, -1)]],
    ['shorter than a tag', [first.subarray(0, 15)]],
    ['empty', [Buffer.alloc(0)]],
    ['flipped bit in the ciphertext', [flip(first, 0)]],
    ['flipped bit in the tag', [flip(first, first.length - 1)]],
    ['flipped bit in a later frame', [first, flip(second, 3)]],
    ['a byte added', [Buffer.concat([first, Buffer.alloc(1)])]],
    ['reordered: the second frame first', [second]],
    ['repeated', [first, first]],
    ['of the other direction', [clientToServer[0] as Buffer]],
  ];
  return cases.map(([what, frames]) => ({
    name: what,
    stream: name,
    direction: 'serverToClient',
    frames: frames.map(text),
  }));
}

export function streamVectors(): StreamVectors {
  const json = (value: unknown): string => JSON.stringify(value);
  const subscribe = json({
    id: '1',
    type: 'subscribe',
    payload: { query: 'subscription { inboxChanged { cursor } }' },
  });
  const next = (title: string): object => ({
    id: '1',
    type: 'next',
    payload: { data: { notificationCreated: { title } } },
  });

  const plain = streamVector(
    { name: 'one message a frame', tenantId: 'tenant-vas-001', userId: 'user-1' },
    [subscribe, json({ type: 'ping' }), json({ id: '1', type: 'complete' })],
    [json(next('Welcome')), json({ type: 'pong' }), json({ id: '1', type: 'complete' })],
  );
  const streams = [
    plain,
    streamVector(
      { name: 'unicode everywhere', tenantId: 'trường-học-🏫', userId: 'Nguyễn Văn A' },
      [json({ type: 'ping', payload: { text: 'Xin chào 👋' } })],
      [json(next('Đơn hàng đã giao 🚚'))],
    ),
    streamVector(
      { name: 'several messages a frame', tenantId: 'tenant-vas-001', userId: 'user-1' },
      [json([{ type: 'ping' }, { id: '1', type: 'complete' }])],
      [json([next('first'), next('second'), next('third')]), json([{ type: 'pong' }]), '[]'],
    ),
    streamVector(
      { name: 'long messages', tenantId: 't', userId: '' },
      [{ repeat: ' ', count: 70_000 }],
      [{ repeat: '0123456789', count: 7_000 }, json({ type: 'pong' })],
    ),
  ];
  return {
    protocol: 'nsg1',
    streams: streams.map(({ vector }) => vector),
    payloads: [
      payloadVector(
        { name: 'payload', tenantId: 'tenant-vas-001', userId: 'user-1' },
        json({ kind: 'CREATED', unreadCount: 1 }),
      ),
      payloadVector(
        { name: 'payload, unicode', tenantId: 'trường-học-🏫', userId: 'Nguyễn Văn A' },
        json('Xin chào 👋'),
      ),
    ],
    refused: refusedVectors(plain.vector.name, plain.raw),
  };
}
