/*
 * The client's side of schema/stream-protocol.md, implemented with WebCrypto: ECDH over P-256, HKDF-SHA-256,
 * AES-256-GCM with a counter as nonce.
 */

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const POINT_BYTES = 65;
const SALT_BYTES = 32;
/** Maximum size of the HKDF `info`. Client and server refuse longer ones. */
const MAX_INFO_BYTES = 1024;
const CURVE = { name: 'ECDH', namedCurve: 'P-256' } as const;

/** Maximum number of frames per key. It is below 2³², the limit of AES-GCM. */
export const FRAME_LIMIT = 2 ** 31;

export const STREAM_PROTOCOL = 'nsg1';
const PAYLOAD_PROTOCOL = 'nsg1-payload';

/** Bytes in the type that WebCrypto accepts. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** A `CryptoKey`, without a dependency on the types of DOM or of Node. */
export type Key = Awaited<ReturnType<typeof crypto.subtle.importKey>>;

export type SealErrorCode =
  /** `connection_init` has no token. */
  | 'token_missing'
  /** The token is not a JWT, or has no claim `sub`. */
  | 'token_unreadable'
  /** The server's answer to `connection_init` does not follow the protocol `nsg1`. */
  | 'handshake_failed'
  /** A public key or salt is invalid. */
  | 'invalid_key'
  /** The ids of tenant and user are too long. */
  | 'invalid_size'
  /** Authentication failed: a frame was changed, truncated, lost, repeated or reordered, or has another recipient. */
  | 'frame_refused'
  /** {@link FRAME_LIMIT} is reached. Open a new connection. */
  | 'key_spent';

/** An error of the sealed protocol. Its message contains neither keys nor plaintext. */
export class SealError extends Error {
  readonly code: SealErrorCode;

  constructor(code: SealErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SealError';
    this.code = code;
  }
}

export function toBase64Url(bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** @throws {TypeError} for text other than canonical base64url without padding */
export function fromBase64Url(text: string): Bytes {
  if (/^[\w-]*$/.test(text) && text.length % 4 !== 1) {
    const bytes = Uint8Array.from(
      atob(text.replaceAll('-', '+').replaceAll('_', '/')),
      (character) => character.codePointAt(0) as number,
    );
    if (toBase64Url(bytes) === text) return bytes;
  }
  throw new TypeError('not base64url');
}

export interface ClientKeys {
  /** Cannot be exported, but can be stored in IndexedDB. */
  privateKey: Key;
  /** The uncompressed point as base64url. */
  clientPublicKey: string;
}

/** Creates a key pair of P-256. */
export async function createKeys(): Promise<ClientKeys> {
  const { privateKey, publicKey } = await crypto.subtle.generateKey(CURVE, false, ['deriveBits']);
  const point = new Uint8Array(await crypto.subtle.exportKey('raw', publicKey));
  return { privateKey, clientPublicKey: toBase64Url(point) };
}

/** Input from which client and server derive the same keys. Public keys and salt are base64url. */
export interface Agreement extends ClientKeys {
  tenantId: string;
  userId: string;
  serverPublicKey: string;
  salt: string;
}

export interface Sealer {
  /**
   * Seals a frame. Frames must be sent in the order of the calls. Rejects with `key_spent` after {@link FRAME_LIMIT}
   * frames.
   */
  seal(plaintext: Bytes): Promise<Bytes>;
}

export interface Opener {
  /**
   * Opens a frame. Await each call before the next one. After the first `frame_refused`, every call rejects with it.
   */
  open(frame: Bytes): Promise<Bytes>;
}

/** Derives the keys of a connection, one for each direction. Rejects with `invalid_key` or `invalid_size`. */
export async function openStream(agreement: Agreement): Promise<{ sealer: Sealer; opener: Opener }> {
  const keys = await derive(agreement, STREAM_PROTOCOL, 2 * KEY_BYTES);
  const [outgoing, incoming] = await Promise.all([
    crypto.subtle.importKey('raw', keys.slice(0, KEY_BYTES), 'AES-GCM', false, ['encrypt']),
    crypto.subtle.importKey('raw', keys.slice(KEY_BYTES), 'AES-GCM', false, ['decrypt']),
  ]);
  return { sealer: createSealer(outgoing), opener: createOpener(incoming) };
}

function createSealer(key: Key): Sealer {
  const next = nonces();
  return {
    seal: async (plaintext) => new Uint8Array(await crypto.subtle.encrypt(gcm(next()), key, plaintext)),
  };
}

function createOpener(key: Key): Opener {
  const next = nonces();
  let isBroken = false;
  return {
    async open(frame) {
      if (isBroken) throw new SealError('frame_refused', 'an earlier frame of this connection was refused');
      try {
        return await decrypt(key, next(), frame);
      } catch (error) {
        isBroken = true;
        throw error;
      }
    },
  };
}

async function decrypt(key: Key, nonce: Bytes, sealed: Bytes): Promise<Bytes> {
  if (sealed.length < TAG_BYTES) throw new SealError('frame_refused', 'a frame is shorter than its 16-byte tag');
  try {
    return new Uint8Array(await crypto.subtle.decrypt(gcm(nonce), key, sealed));
  } catch {
    throw new SealError('frame_refused', 'the authentication tag of a frame does not match');
  }
}

const gcm = (iv: Bytes) => ({ name: 'AES-GCM', iv, tagLength: 8 * TAG_BYTES }) as const;

/**
 * Returns a counter of 96-bit big-endian nonces from 0. Each is a new array, because WebCrypto reads it asynchronously.
 */
function nonces(): () => Bytes {
  let frames = 0;
  return () => {
    if (frames >= FRAME_LIMIT)
      throw new SealError('key_spent', `the key has sealed ${FRAME_LIMIT} frames, which is its limit; reconnect`);
    const nonce = new Uint8Array(NONCE_BYTES);
    new DataView(nonce.buffer).setUint32(NONCE_BYTES - 4, frames++);
    return nonce;
  };
}

async function derive(
  { privateKey, clientPublicKey, serverPublicKey, salt, tenantId, userId }: Agreement,
  protocol: string,
  length: number,
): Promise<Bytes> {
  const serverPoint = decode(serverPublicKey, POINT_BYTES, 'serverPublicKey');
  const clientPoint = decode(clientPublicKey, POINT_BYTES, 'clientPublicKey');
  const info = concat([utf8(protocol), ...lengthAndText(tenantId), ...lengthAndText(userId), clientPoint, serverPoint]);
  if (info.length > MAX_INFO_BYTES) throw new SealError('invalid_size', 'the ids of tenant and user are too long');
  const secret = await agree(privateKey, serverPoint);
  const ikm = await crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits']);
  const hkdf = { name: 'HKDF', hash: 'SHA-256', salt: decode(salt, SALT_BYTES, 'salt'), info } as const;
  return new Uint8Array(await crypto.subtle.deriveBits(hkdf, ikm, 8 * length));
}

async function agree(privateKey: Key, point: Bytes): Promise<ArrayBuffer> {
  try {
    const publicKey = await crypto.subtle.importKey('raw', point, CURVE, false, []);
    return await crypto.subtle.deriveBits({ name: 'ECDH', public: publicKey }, privateKey, 8 * KEY_BYTES);
  } catch (error) {
    throw new SealError('invalid_key', 'serverPublicKey is not a point of P-256', { cause: error });
  }
}

function decode(text: string, length: number, name: string): Bytes {
  try {
    const bytes = fromBase64Url(text);
    // The first byte of an uncompressed point is 4. The protocol has no other form.
    if (bytes.length === length && (length !== POINT_BYTES || bytes[0] === 4)) return bytes;
  } catch {
    // Reported below.
  }
  throw new SealError('invalid_key', `${name} must be the base64url of ${length} bytes`);
}

export const utf8 = (text: string): Bytes => new TextEncoder().encode(text);

/** The length prefix prevents that two pairs of tenant and user give the same bytes. */
function lengthAndText(text: string): Bytes[] {
  const bytes = utf8(text);
  return [new Uint8Array([bytes.length >> 8, bytes.length & 0xff]), bytes];
}

function concat(parts: Bytes[]): Bytes {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Creates a key pair for `sealedInboxChanged(clientPublicKey)`. Keep `privateKey` until the subscription ends. */
export const createPayloadKeys = (): Promise<ClientKeys> => createKeys();

/** Fields of the GraphQL type `SealedPayload`, each base64url. */
export interface SealedPayload {
  serverPublicKey: string;
  salt: string;
  ciphertext: string;
}

export interface SealedPayloadOptions extends ClientKeys {
  tenantId: string;
  userId: string;
  payload: SealedPayload;
}

/** Decrypts a sealed payload. Rejects with `frame_refused` when it was changed or is for another user. */
export async function openSealedPayload({ payload, ...peer }: SealedPayloadOptions): Promise<string> {
  const { serverPublicKey, salt } = payload;
  const bits = await derive({ ...peer, serverPublicKey, salt }, PAYLOAD_PROTOCOL, KEY_BYTES);
  const key = await crypto.subtle.importKey('raw', bits, 'AES-GCM', false, ['decrypt']);
  return readUtf8(await decrypt(key, new Uint8Array(NONCE_BYTES), sealedBytes(payload.ciphertext)));
}

function sealedBytes(text: string): Bytes {
  try {
    return fromBase64Url(text);
  } catch (error) {
    throw new SealError('frame_refused', 'ciphertext is not base64url', { cause: error });
  }
}

const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** @throws {TypeError} for bytes that are not UTF-8 */
export const readUtf8 = (bytes: Bytes): string => strictDecoder.decode(bytes);
