/*
 * The client's half of schema/stream-protocol.md, over WebCrypto: ECDH over P-256, HKDF-SHA-256, AES-256-GCM with a
 * counter as nonce.
 */

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const POINT_BYTES = 65;
const SALT_BYTES = 32;
/** Longer ones are refused by both ends. */
const MAX_INFO_BYTES = 1024;
const CURVE = { name: 'ECDH', namedCurve: 'P-256' } as const;

/** After so many frames a key is spent, far below the 2³² that AES-GCM stands. */
export const FRAME_LIMIT = 2 ** 31;

export const STREAM_PROTOCOL = 'nsg1';
const PAYLOAD_PROTOCOL = 'nsg1-payload';

/** Bytes as WebCrypto takes them. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** A `CryptoKey`, whichever library of types is there. */
export type Key = Awaited<ReturnType<typeof crypto.subtle.importKey>>;

export type SealErrorCode =
  /** `connection_init` carries no token to read tenant and user from. */
  | 'token_missing'
  /** A token that is no JWT, or one without `sub`. */
  | 'token_unreadable'
  /** The server did not answer `connection_init` as `nsg1` does. */
  | 'handshake_failed'
  /** A point, key or salt that nothing can be agreed from. */
  | 'invalid_key'
  /** An identity that is too long. */
  | 'invalid_size'
  /** The tag does not fit: changed, cut, lost, repeated, reordered, or of somebody else. */
  | 'frame_refused'
  /** {@link FRAME_LIMIT} is reached: make a new connection. */
  | 'key_spent';

/** Whatever goes wrong in sealing. The message holds nothing of keys or plaintext. */
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

/** @throws {TypeError} on anything but base64url without padding, in its one spelling */
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
  /** It cannot be exported, but IndexedDB keeps it as it is. */
  privateKey: Key;
  /** The uncompressed point, base64url. */
  clientPublicKey: string;
}

/** A fresh key pair of P-256. */
export async function createKeys(): Promise<ClientKeys> {
  const { privateKey, publicKey } = await crypto.subtle.generateKey(CURVE, false, ['deriveBits']);
  const point = new Uint8Array(await crypto.subtle.exportKey('raw', publicKey));
  return { privateKey, clientPublicKey: toBase64Url(point) };
}

/** What both ends derive their keys from. The public keys and the salt are base64url. */
export interface Agreement extends ClientKeys {
  tenantId: string;
  userId: string;
  serverPublicKey: string;
  salt: string;
}

export interface Sealer {
  /** Frames must be sent in the order of the calls. Rejects with `key_spent` when there have been too many. */
  seal(plaintext: Bytes): Promise<Bytes>;
}

export interface Opener {
  /** Wait for each frame before the next. Rejects with `frame_refused`, and from then on for every frame. */
  open(frame: Bytes): Promise<Bytes>;
}

/** The keys of one connection. Rejects with `invalid_key` or `invalid_size`. */
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
      if (isBroken) throw new SealError('frame_refused', 'a frame before this one was refused');
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
  if (sealed.length < TAG_BYTES) throw new SealError('frame_refused', 'a frame has at least the 16 bytes of its tag');
  try {
    return new Uint8Array(await crypto.subtle.decrypt(gcm(nonce), key, sealed));
  } catch {
    throw new SealError('frame_refused', 'the tag does not fit');
  }
}

const gcm = (iv: Bytes) => ({ name: 'AES-GCM', iv, tagLength: 8 * TAG_BYTES }) as const;

/** 96-bit big-endian numbers from 0. Each is an array of its own, for WebCrypto reads it later. */
function nonces(): () => Bytes {
  let frames = 0;
  return () => {
    if (frames >= FRAME_LIMIT) throw new SealError('key_spent', `a key seals at most ${FRAME_LIMIT} frames`);
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
    throw new SealError('invalid_key', 'serverPublicKey is no point of P-256', { cause: error });
  }
}

function decode(text: string, length: number, name: string): Bytes {
  try {
    const bytes = fromBase64Url(text);
    // A first byte other than 4 is a point in another form, which the protocol does not have.
    if (bytes.length === length && (length !== POINT_BYTES || bytes[0] === 4)) return bytes;
  } catch {
    // Said below.
  }
  throw new SealError('invalid_key', `${name} is the base64url of ${length} bytes`);
}

export const utf8 = (text: string): Bytes => new TextEncoder().encode(text);

/** With its length before it, no tenant and user together read like another tenant and user. */
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

/** A key pair for `sealedInboxChanged(clientPublicKey)`; keep `privateKey` for as long as payloads come for it. */
export const createPayloadKeys = (): Promise<ClientKeys> => createKeys();

/** What the field `SealedPayload` holds, each base64url. */
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

/** The plaintext of one sealed payload. Rejects with `frame_refused` when it was changed or is for somebody else. */
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

/** @throws {TypeError} on bytes that are no UTF-8 */
export const readUtf8 = (bytes: Bytes): string => strictDecoder.decode(bytes);
