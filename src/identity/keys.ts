import { readFile } from 'node:fs/promises';

import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  exportJWK,
  importSPKI,
  type JWK,
  type JWTVerifyGetKey,
} from 'jose';

/** The JWKS cannot be had and none was ever read. */
export class KeysUnavailable extends Error {}

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
export function remoteKeys({ url, cooldownMs = 30_000, maxAgeMs = 600_000 }: RemoteKeysOptions): JWTVerifyGetKey {
  let lastGood: string | undefined;
  let nextFetchAt = 0;

  const fetchSet = async (...request: Parameters<typeof fetch>): Promise<Response> => {
    if (Date.now() >= nextFetchAt) {
      nextFetchAt = Date.now() + cooldownMs;
      try {
        const response = await fetch(...request);
        if (!response.ok) throw new Error(`JWKS endpoint answered ${response.status}`);
        const body = await response.text();
        JSON.parse(body);
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
  const text = await readFile(path, 'utf8');
  if (text.trimStart().startsWith('{')) return createLocalJWKSet(JSON.parse(text) as { keys: JWK[] });
  // The algorithm is only a formality here: which ones are accepted is checked on every token.
  return localKeys([await exportJWK(await importPublicPem(text))]);
}

export const localKeys = (keys: JWK[]): JWTVerifyGetKey => createLocalJWKSet({ keys });

async function importPublicPem(pem: string) {
  const candidates = ['RS256', 'ES256', 'ES384', 'ES512', 'EdDSA'];
  let failure: unknown;
  for (const algorithm of candidates) {
    try {
      return await importSPKI(pem, algorithm, { extractable: true });
    } catch (error) {
      failure = error;
    }
  }
  throw new Error('JWT_PUBLIC_KEY_PATH holds no public key in PEM (SPKI) or JWKS form', { cause: failure });
}
