import { createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';

import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  type JSONWebKeySet,
  type JWK,
  type JWTHeaderParameters,
  type JWTVerifyGetKey,
} from 'jose';

import { type DevIdentity, devIdentity } from './dev-keys.ts';

/** The JWKS cannot be had and none was ever read. */
export class KeysUnavailable extends Error {}

export interface VerificationKeys {
  keys: JWTVerifyGetKey;
  /** Only for keys that may be missing. */
  check?: () => Promise<void>;
  /** Only where no keys are configured. */
  dev?: DevIdentity;
}

/** What tokens are verified with: the identity service's keys, those of a file, or those of development. */
export async function verificationKeys({
  jwksUrl,
  publicKeyPath,
  dataPath,
}: {
  jwksUrl?: URL | undefined;
  publicKeyPath?: string | undefined;
  /** Where the keys of development lie. */
  dataPath: string;
}): Promise<VerificationKeys> {
  if (jwksUrl) {
    const keys = remoteKeys({ url: jwksUrl });
    return {
      keys,
      check: async () => {
        if (!keys.jwks()) await keys.reload();
      },
    };
  }
  if (publicKeyPath !== undefined) return { keys: await fileKeys(publicKeyPath) };
  const dev = await devIdentity(dataPath);
  return { keys: localKeys([dev.publicKey]), dev };
}

export interface RemoteKeysOptions {
  url: URL;
  /** No two fetches happen within this time, whatever tokens come in. Milliseconds. */
  cooldownMs?: number;
  /** Milliseconds after which the set is fetched again, so that a withdrawn key is noticed. */
  maxAgeMs?: number;
}

/**
 * Keys from a JWKS URL. When the identity service is down the last set that was read stays in force, and a flood of
 * tokens with unknown key ids makes no flood of fetches.
 */
export function remoteKeys({
  url,
  cooldownMs = 30_000,
  maxAgeMs = 600_000,
}: RemoteKeysOptions): ReturnType<typeof createRemoteJWKSet> {
  let lastGood: string | undefined;
  let nextFetchAt = 0;

  const fetchSet = async (...request: Parameters<typeof fetch>): Promise<Response> => {
    if (Date.now() >= nextFetchAt) {
      nextFetchAt = Date.now() + cooldownMs;
      try {
        const response = await fetch(...request);
        if (!response.ok) throw new Error(`JWKS endpoint answered ${response.status}`);
        const body = await response.text();
        // Only a key set may take the place of the last one: an error page with status 200 is none.
        createLocalJWKSet(JSON.parse(body) as JSONWebKeySet);
        lastGood = body;
      } catch (error) {
        if (lastGood === undefined) throw new KeysUnavailable('JWKS cannot be fetched', { cause: error });
      }
    }
    if (lastGood === undefined) throw new KeysUnavailable('JWKS could not be fetched a moment ago');
    return new Response(lastGood, { headers: { 'content-type': 'application/json' } });
  };

  return createRemoteJWKSet(url, {
    [customFetch]: fetchSet,
    cooldownDuration: cooldownMs,
    cacheMaxAge: maxAgeMs,
    timeoutDuration: 5_000,
  });
}

/** The one public key of a PEM file (SPKI), or the keys of a JWKS file. */
export async function fileKeys(path: string): Promise<JWTVerifyGetKey> {
  const text = (await readFile(path, 'utf8')).trim();
  try {
    if (text.startsWith('{')) return createLocalJWKSet(JSON.parse(text) as JSONWebKeySet);
    return onlyKey(publicJwk(text));
  } catch (error) {
    throw new Error('JWT_PUBLIC_KEY_PATH holds no public key in PEM (SPKI) or JWKS form', { cause: error });
  }
}

const localKeys = (keys: JWK[]): JWTVerifyGetKey => createLocalJWKSet({ keys });

/** A PEM file names no key id, so it is the key of every token, whatever id the token names. */
function onlyKey(key: JWK): JWTVerifyGetKey {
  const keys = localKeys([key]);
  return ({ kid: _kid, ...header }, token) => keys(header as JWTHeaderParameters, token);
}

function publicJwk(pem: string): JWK {
  // A private key would do as well, and has no business being here.
  if (!pem.startsWith('-----BEGIN PUBLIC KEY-----')) throw new Error('no public key');
  return createPublicKey(pem).export({ format: 'jwk' }) as JWK;
}
