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

/** The JWKS cannot be fetched and no earlier one is available. */
export class KeysUnavailable extends Error {}

export interface VerificationKeys {
  keys: JWTVerifyGetKey;
  /** Readiness check. Set only for keys from a URL. */
  check?: () => Promise<void>;
  /** Set only when no keys are configured. */
  dev?: DevIdentity;
}

/** Loads the keys that verify tokens: from the JWKS URL, from a file, or the development key. */
export async function verificationKeys({
  jwksUrl,
  publicKeyPath,
  dataPath,
}: {
  jwksUrl?: URL | undefined;
  publicKeyPath?: string | undefined;
  /** Folder of the development key. */
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
  /** Minimum time between two fetches, in milliseconds. */
  cooldownMs?: number;
  /** Maximum age of the cached set, in milliseconds. A withdrawn key is refused after this time. */
  maxAgeMs?: number;
}

/**
 * Returns keys from a JWKS URL. During an outage of the identity service the last fetched set stays in use. Tokens with
 * unknown key ids cannot cause more than one fetch per cooldown.
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
        // Throws unless the body is a key set, so that an error page with status 200 does not replace the last set.
        createLocalJWKSet(JSON.parse(body) as JSONWebKeySet);
        lastGood = body;
      } catch (error) {
        if (lastGood === undefined) throw new KeysUnavailable('the JWKS could not be fetched', { cause: error });
      }
    }
    if (lastGood === undefined)
      throw new KeysUnavailable('the JWKS could not be fetched, the next attempt is after the cooldown');
    return new Response(lastGood, { headers: { 'content-type': 'application/json' } });
  };

  return createRemoteJWKSet(url, {
    [customFetch]: fetchSet,
    cooldownDuration: cooldownMs,
    cacheMaxAge: maxAgeMs,
    timeoutDuration: 5_000,
  });
}

/** Reads the public key of a PEM file (SPKI) or the keys of a JWKS file. */
export async function fileKeys(path: string): Promise<JWTVerifyGetKey> {
  const text = (await readFile(path, 'utf8')).trim();
  try {
    if (text.startsWith('{')) return createLocalJWKSet(JSON.parse(text) as JSONWebKeySet);
    return onlyKey(publicJwk(text));
  } catch (error) {
    throw new Error('JWT_PUBLIC_KEY_PATH must be a file with a public key in PEM (SPKI) or JWKS format', {
      cause: error,
    });
  }
}

const localKeys = (keys: JWK[]): JWTVerifyGetKey => createLocalJWKSet({ keys });

/** Ignores the key id of the token, because a PEM file contains none. */
function onlyKey(key: JWK): JWTVerifyGetKey {
  const keys = localKeys([key]);
  return ({ kid: _kid, ...header }, token) => keys(header as JWTHeaderParameters, token);
}

function publicJwk(pem: string): JWK {
  // `createPublicKey` would also accept a private key, which this service must not have.
  if (!pem.startsWith('-----BEGIN PUBLIC KEY-----')) throw new Error('the key is not a public key');
  return createPublicKey(pem).export({ format: 'jwk' }) as JWK;
}
