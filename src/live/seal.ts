import { createECDH, type ECDH, hkdfSync, randomBytes } from 'node:crypto';

import { KEY_BYTES, NONCE_BYTES, nodeCrypto, TAG_BYTES } from './aes-gcm.ts';
import { loadOpenSsl } from './openssl.ts';

/*
 * Sealed connections and sealed payloads, as specified in schema/stream-protocol.md: ECDH over P-256, HKDF-SHA-256, and
 * AES-256-GCM with a counter as nonce. No I/O.
 */

const CURVE = 'prime256v1';
const POINT_BYTES = 65;
const SALT_BYTES = 32;
/** RFC 5869: 255 blocks of the hash. */
const MAX_DERIVED_BYTES = 255 * 32;
/** Limit of node:crypto. Every implementation refuses a longer tenant or user id. */
const MAX_INFO_BYTES = 1024;

/** Maximum number of frames per key. Far below 2³², the safe limit of AES-GCM. */
export const FRAME_LIMIT = 2 ** 31;

/** Value of `connection_ack.payload.protocol` and prefix of the HKDF info of a connection. */
export const STREAM_PROTOCOL = 'nsg1';
const PAYLOAD_PROTOCOL = 'nsg1-payload';

const aesGcm = loadOpenSsl() ?? nodeCrypto;

export type SealErrorCode =
  /** The point or private key is invalid. */
  | 'invalid_key'
  /** A key, nonce, salt, id or output has an unsupported size. */
  | 'invalid_size'
  /** The tag is wrong: the frame was changed, shortened, lost, repeated, reordered, or sealed with another key. */
  | 'frame_refused'
  /** {@link FRAME_LIMIT} is reached. Open a new connection. */
  | 'key_spent';

/** Error of all functions of this file. Its message contains neither keys nor plaintext. */
export class SealError extends Error {
  readonly code: SealErrorCode;

  constructor(code: SealErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SealError';
    this.code = code;
  }
}

/**
 * Computes the ECDH secret over P-256.
 * @param privateKey the scalar, 32 bytes big-endian
 * @param peerPoint uncompressed, 65 bytes; must be on the curve
 * @returns the x coordinate, 32 bytes
 */
export function agree(privateKey: Uint8Array, peerPoint: Uint8Array): Buffer {
  return computeSecret(keyPairOf(privateKey), peerPoint);
}

function keyPairOf(privateKey: Uint8Array): ECDH {
  if (privateKey.length !== KEY_BYTES) throw new SealError('invalid_key', 'the private key must have 32 bytes');
  const pair = createECDH(CURVE);
  try {
    pair.setPrivateKey(privateKey);
  } catch (error) {
    throw new SealError('invalid_key', 'the private key is not valid for P-256', { cause: error });
  }
  return pair;
}

function computeSecret(pair: ECDH, peerPoint: Uint8Array): Buffer {
  // Other encodings are refused, so that a key has exactly one representation.
  if (peerPoint.length !== POINT_BYTES || peerPoint[0] !== 4) {
    throw new SealError('invalid_key', 'the public key must be an uncompressed point of 65 bytes');
  }
  try {
    return pair.computeSecret(peerPoint);
  } catch (error) {
    throw new SealError('invalid_key', 'the public key is not a point on P-256', { cause: error });
  }
}

/** HKDF-SHA-256, extract and expand. @param length in bytes, at most 255 × 32 */
export function deriveKey(ikm: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Buffer {
  if (!Number.isInteger(length) || length < 1 || length > MAX_DERIVED_BYTES) {
    throw new SealError('invalid_size', `length must be from 1 to ${MAX_DERIVED_BYTES} bytes`);
  }
  if (info.length > MAX_INFO_BYTES) throw new SealError('invalid_size', `info exceeds ${MAX_INFO_BYTES} bytes`);
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

/** Reverses {@link sealBytes}. Returns no plaintext unless the tag is correct. */
export function openBytes(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, aad?: Uint8Array): Buffer {
  checkSizes(key, nonce);
  if (sealed.length < TAG_BYTES) {
    throw new SealError('frame_refused', `the frame is shorter than the tag of ${TAG_BYTES} bytes`);
  }
  const frame = Buffer.from(sealed);
  if (!aesGcm.open(key, nonce, frame, aad))
    throw new SealError('frame_refused', 'the authentication tag of the frame does not match');
  return frame.subarray(0, -TAG_BYTES);
}

function checkSizes(key: Uint8Array, nonce: Uint8Array): void {
  if (key.length !== KEY_BYTES) throw new SealError('invalid_size', `the key must have ${KEY_BYTES} bytes`);
  if (nonce.length !== NONCE_BYTES) throw new SealError('invalid_size', `the nonce must have ${NONCE_BYTES} bytes`);
}

export interface Sealer {
  /** Seals a frame. Frames must be sent in the order in which they are sealed. @throws {SealError} `key_spent` */
  seal(plaintext: Uint8Array | string): Buffer;
  /** Seals in place. The frame is the plaintext followed by 16 bytes for the tag. */
  sealInPlace(frame: Uint8Array): void;
}

export interface Opener {
  /** Opens the next frame. @throws {SealError} `frame_refused`, then also for every later frame; `key_spent` */
  open(frame: Uint8Array): Buffer;
}

export interface FrameOptions {
  /** Lowers {@link FRAME_LIMIT}. */
  limit?: number;
}

/** Seals the frames of one direction with consecutive nonces. */
export function createSealer(key: Uint8Array, options?: FrameOptions): Sealer {
  const frames = new FrameKey(key, options);
  return {
    seal: (plaintext) => sealBytes(frames.key, frames.nextNonce(), plaintext),
    sealInPlace: (frame) => aesGcm.seal(frames.key, frames.nextNonce(), frame),
  };
}

/** Opens the frames of one direction. After a wrong frame it refuses all others, so that an attacker has one guess. */
export function createOpener(key: Uint8Array, options?: FrameOptions): Opener {
  const frames = new FrameKey(key, options);
  let isBroken = false;
  return {
    open(frame) {
      if (isBroken)
        throw new SealError('frame_refused', 'an earlier frame was refused, so the connection must be closed');
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

/** Shared buffer. Its content is valid only until the next nonce is requested. */
const nonceOfFrame = Buffer.alloc(NONCE_BYTES);

/** A key and its nonce counter: 96-bit big-endian, starting at 0. */
class FrameKey {
  readonly key: Buffer;
  readonly #limit: number;
  #frames = 0;

  constructor(key: Uint8Array, { limit = FRAME_LIMIT }: FrameOptions = {}) {
    if (key.length !== KEY_BYTES) throw new SealError('invalid_size', `the key must have ${KEY_BYTES} bytes`);
    this.key = Buffer.from(key);
    this.#limit = Math.min(limit, FRAME_LIMIT);
  }

  /** @returns a shared buffer, valid until the next call. @throws {SealError} `key_spent` */
  nextNonce(): Buffer {
    if (this.#frames >= this.#limit) {
      throw new SealError('key_spent', `the key has been used for ${this.#limit} frames; open a new connection`);
    }
    nonceOfFrame.writeUInt32BE(this.#frames++, NONCE_BYTES - 4);
    return nonceOfFrame;
  }
}

/** The client. Keys are derived from all of these fields, so that both ends must agree on them. */
export interface Peer {
  /** Uncompressed point on P-256, base64url without padding. */
  clientPublicKey: string;
  tenantId: string;
  userId: string;
}

/** Replaces random values in test vectors. */
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
  /** Seals the frames to the client. */
  sealer: Sealer;
  /** Opens the frames from the client. */
  opener: Opener;
}

/**
 * Runs the server's side of the handshake with a new key pair.
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

/** All fields are base64url. */
export interface SealedPayload {
  serverPublicKey: string;
  salt: string;
  /** ciphertext ‖ tag */
  ciphertext: string;
}

/**
 * Seals one message for the holder of the client's private key. Each message has a new key, so the nonce can be zero.
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
  if (salt.length !== SALT_BYTES) throw new SealError('invalid_size', `the salt must have ${SALT_BYTES} bytes`);
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

/** Accepts only canonical base64url. node:crypto would also accept padding, spaces and the other alphabet. */
function decodePoint(text: string): Buffer {
  const point = Buffer.from(text, 'base64url');
  if (point.length !== POINT_BYTES || point.toString('base64url') !== text) {
    throw new SealError('invalid_key', 'clientPublicKey must be an uncompressed point in base64url without padding');
  }
  return point;
}

/** Prefixes the text with its length, so that different pairs of tenant and user never encode to the same bytes. */
function lengthAndText(text: string, name: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length > MAX_INFO_BYTES)
    throw new SealError('invalid_size', `the ${name} id exceeds ${MAX_INFO_BYTES} bytes`);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
