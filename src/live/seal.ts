import { createECDH, type ECDH, hkdfSync, randomBytes } from 'node:crypto';

import { KEY_BYTES, NONCE_BYTES, nodeCrypto, TAG_BYTES } from './aes-gcm.ts';
import { loadOpenSsl } from './openssl.ts';

/*
 * The sealed connection and the sealed payload, as schema/stream-protocol.md describes them for other languages:
 * ECDH over P-256, HKDF-SHA-256, AES-256-GCM with a counter as nonce. Pure computation, no I/O.
 */

const CURVE = 'prime256v1';
const POINT_BYTES = 65;
const SALT_BYTES = 32;
/** RFC 5869: 255 blocks of the hash. */
const MAX_DERIVED_BYTES = 255 * 32;
/** What node:crypto takes; a longer tenant or user is refused in every implementation alike. */
const MAX_INFO_BYTES = 1024;

/** After so many frames a key is spent, far below the 2³² that AES-GCM stands. */
export const FRAME_LIMIT = 2 ** 31;

/** `connection_ack.payload.protocol`, and the beginning of the HKDF info of a connection. */
export const STREAM_PROTOCOL = 'nsg1';
const PAYLOAD_PROTOCOL = 'nsg1-payload';

const aesGcm = loadOpenSsl() ?? nodeCrypto;

export type SealErrorCode =
  /** A point, private key, salt or identity that nothing can be agreed from. */
  | 'invalid_key'
  /** A size that the algorithm does not have. */
  | 'invalid_size'
  /** The tag does not fit: changed, cut, lost, repeated, reordered, or of somebody else. */
  | 'frame_refused'
  /** {@link FRAME_LIMIT} is reached: make a new connection. */
  | 'key_spent';

/** Every refusal of this file. The message holds nothing of keys or plaintext. */
export class SealError extends Error {
  readonly code: SealErrorCode;

  constructor(code: SealErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SealError';
    this.code = code;
  }
}

/**
 * ECDH over P-256.
 * @param privateKey the scalar, 32 bytes big-endian
 * @param peerPoint uncompressed, 65 bytes; one that is not on the curve is refused
 * @returns the x coordinate, 32 bytes
 */
export function agree(privateKey: Uint8Array, peerPoint: Uint8Array): Buffer {
  return computeSecret(keyPairOf(privateKey), peerPoint);
}

function keyPairOf(privateKey: Uint8Array): ECDH {
  if (privateKey.length !== KEY_BYTES) throw new SealError('invalid_key', 'a private key is 32 bytes');
  const pair = createECDH(CURVE);
  try {
    pair.setPrivateKey(privateKey);
  } catch (error) {
    throw new SealError('invalid_key', 'not a private key of P-256', { cause: error });
  }
  return pair;
}

function computeSecret(pair: ECDH, peerPoint: Uint8Array): Buffer {
  // Compressed and hybrid encodings of a point would make two names for one key.
  if (peerPoint.length !== POINT_BYTES || peerPoint[0] !== 4) {
    throw new SealError('invalid_key', 'a public key is an uncompressed point of 65 bytes');
  }
  try {
    return pair.computeSecret(peerPoint);
  } catch (error) {
    throw new SealError('invalid_key', 'the public key is no point of P-256', { cause: error });
  }
}

/** HKDF-SHA-256, extract and expand. @param length in bytes, at most 255 × 32 */
export function deriveKey(ikm: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Buffer {
  if (!Number.isInteger(length) || length < 1 || length > MAX_DERIVED_BYTES) {
    throw new SealError('invalid_size', `HKDF-SHA-256 gives 1 to ${MAX_DERIVED_BYTES} bytes`);
  }
  if (info.length > MAX_INFO_BYTES) throw new SealError('invalid_size', `info has at most ${MAX_INFO_BYTES} bytes`);
  return Buffer.from(hkdfSync('sha256', ikm, salt, info, length));
}

/** AES-256-GCM. @returns ciphertext ‖ tag (16 bytes) */
export function sealBytes(
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array | string,
  aad?: Uint8Array,
): Buffer {
  checkSizes(key, nonce);
  const bytes = typeof plaintext === 'string' ? Buffer.from(plaintext) : plaintext;
  const frame = Buffer.allocUnsafe(bytes.length + TAG_BYTES);
  frame.set(bytes);
  aesGcm.seal(key, nonce, frame, aad);
  return frame;
}

/** The reverse of {@link sealBytes}. Gives no byte away before the tag is checked. */
export function openBytes(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, aad?: Uint8Array): Buffer {
  checkSizes(key, nonce);
  if (sealed.length < TAG_BYTES) {
    throw new SealError('frame_refused', 'a frame has at least the 16 bytes of its tag');
  }
  const frame = Buffer.from(sealed);
  if (!aesGcm.open(key, nonce, frame, aad)) throw new SealError('frame_refused', 'the tag does not fit');
  return frame.subarray(0, -TAG_BYTES);
}

function checkSizes(key: Uint8Array, nonce: Uint8Array): void {
  if (key.length !== KEY_BYTES) throw new SealError('invalid_size', 'a key is 32 bytes');
  if (nonce.length !== NONCE_BYTES) throw new SealError('invalid_size', 'a nonce is 12 bytes');
}

export interface Sealer {
  /** Frames must be sent in the order in which they were sealed. @throws {SealError} `key_spent` */
  seal(plaintext: Uint8Array | string): Buffer;
  /** The same, where it lies: the plaintext, and behind it 16 bytes of room for the tag. */
  sealInPlace(frame: Uint8Array): void;
}

export interface Opener {
  /** @throws {SealError} `frame_refused`, and from then on for every frame; `key_spent` */
  open(frame: Uint8Array): Buffer;
}

export interface FrameOptions {
  /** Fewer frames than {@link FRAME_LIMIT}; never more. */
  limit?: number;
}

/** Seals what goes one way, under the next nonce each. */
export function createSealer(key: Uint8Array, options?: FrameOptions): Sealer {
  const frames = new FrameKey(key, options);
  return {
    seal: (plaintext) => sealBytes(frames.key, frames.nextNonce(), plaintext),
    sealInPlace: (frame) => aesGcm.seal(frames.key, frames.nextNonce(), frame),
  };
}

/** Opens what comes one way. After a frame that failed it opens no other: an attacker gets one guess. */
export function createOpener(key: Uint8Array, options?: FrameOptions): Opener {
  const frames = new FrameKey(key, options);
  let isBroken = false;
  return {
    open(frame) {
      if (isBroken) throw new SealError('frame_refused', 'a frame before this one was refused');
      const nonce = frames.nextNonce();
      try {
        return openBytes(frames.key, nonce, frame);
      } catch (error) {
        isBroken = true;
        throw error;
      }
    },
  };
}

/** Used up by the call for which it was made. */
const nonceOfFrame = Buffer.alloc(NONCE_BYTES);

/** A key of its own, and the nonces that it has left: 96-bit big-endian, from 0. */
class FrameKey {
  readonly key: Buffer;
  readonly #limit: number;
  #frames = 0;

  constructor(key: Uint8Array, { limit = FRAME_LIMIT }: FrameOptions = {}) {
    if (key.length !== KEY_BYTES) throw new SealError('invalid_size', 'a key is 32 bytes');
    this.key = Buffer.from(key);
    this.#limit = Math.min(limit, FRAME_LIMIT);
  }

  /** @returns bytes that hold it until the next is asked for. @throws {SealError} `key_spent` */
  nextNonce(): Buffer {
    if (this.#frames >= this.#limit) throw new SealError('key_spent', `a key seals at most ${this.#limit} frames`);
    nonceOfFrame.writeUInt32BE(this.#frames++, NONCE_BYTES - 4);
    return nonceOfFrame;
  }
}

/** Who is at the other end; part of what keys are derived from, so that both ends must mean the same one. */
export interface Peer {
  /** P-256, uncompressed point, base64url without padding. */
  clientPublicKey: string;
  tenantId: string;
  userId: string;
}

/** Only for test vectors: what is otherwise made afresh each time. */
export interface FixedSecrets {
  /** `privateKey` is the scalar, 32 bytes. */
  keyPair?: { privateKey: Uint8Array };
  /** 32 bytes. */
  salt?: Uint8Array;
}

export interface AcceptedStream {
  /** base64url, for `connection_ack`. */
  serverPublicKey: string;
  /** base64url, for `connection_ack`. */
  salt: string;
  /** Server to client. */
  sealer: Sealer;
  /** Client to server. */
  opener: Opener;
}

/**
 * The server's half of the handshake, with a key pair that exists for this connection alone.
 * @throws {SealError} `invalid_key`, `invalid_size`
 */
export function acceptStream({ keyPair, salt, ...peer }: Peer & FixedSecrets): AcceptedStream {
  const agreed = agreeWith(peer, STREAM_PROTOCOL, 2 * KEY_BYTES, { keyPair, salt });
  return {
    serverPublicKey: agreed.serverPublicKey,
    salt: agreed.salt,
    opener: createOpener(agreed.keys.subarray(0, KEY_BYTES)),
    sealer: createSealer(agreed.keys.subarray(KEY_BYTES)),
  };
}

/** Each field base64url. */
export interface SealedPayload {
  serverPublicKey: string;
  salt: string;
  /** ciphertext ‖ tag */
  ciphertext: string;
}

/**
 * One message that only the holder of the client's private key reads, under a key that exists for it alone: hence the
 * nonce of zeros.
 * @throws {SealError} `invalid_key`, `invalid_size`
 */
export function sealPayload({
  plaintext,
  keyPair,
  salt,
  ...peer
}: Peer & FixedSecrets & { plaintext: Uint8Array | string }): SealedPayload {
  const agreed = agreeWith(peer, PAYLOAD_PROTOCOL, KEY_BYTES, { keyPair, salt });
  return {
    serverPublicKey: agreed.serverPublicKey,
    salt: agreed.salt,
    ciphertext: sealBytes(agreed.keys, ZERO_NONCE, plaintext).toString('base64url'),
  };
}

const ZERO_NONCE = Buffer.alloc(NONCE_BYTES);

function agreeWith(
  { clientPublicKey, tenantId, userId }: Peer,
  protocol: string,
  length: number,
  { keyPair, salt = randomBytes(SALT_BYTES) }: { [Name in keyof FixedSecrets]: FixedSecrets[Name] | undefined },
): { keys: Buffer; serverPublicKey: string; salt: string } {
  if (salt.length !== SALT_BYTES) throw new SealError('invalid_size', `a salt is ${SALT_BYTES} bytes`);
  const clientPoint = decodePoint(clientPublicKey);
  const pair = keyPair ? keyPairOf(keyPair.privateKey) : createECDH(CURVE);
  const serverPoint = keyPair ? pair.getPublicKey() : pair.generateKeys();
  const secret = computeSecret(pair, clientPoint);
  const info = Buffer.concat([
    Buffer.from(protocol),
    lengthAndText(tenantId, 'tenant'),
    lengthAndText(userId, 'user'),
    clientPoint,
    serverPoint,
  ]);
  return {
    keys: deriveKey(secret, salt, info, length),
    serverPublicKey: serverPoint.toString('base64url'),
    salt: Buffer.from(salt).toString('base64url'),
  };
}

/** Only the one spelling that base64url has for 65 bytes: node:crypto would read padding, spaces and both alphabets. */
function decodePoint(text: string): Buffer {
  const point = Buffer.from(text, 'base64url');
  if (point.length !== POINT_BYTES || point.toString('base64url') !== text) {
    throw new SealError('invalid_key', 'clientPublicKey is the base64url, without padding, of an uncompressed point');
  }
  return point;
}

/** With its length before it, no tenant and user together read like another tenant and user. */
function lengthAndText(text: string, name: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length > MAX_INFO_BYTES) throw new SealError('invalid_size', `the id of the ${name} is too long`);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
