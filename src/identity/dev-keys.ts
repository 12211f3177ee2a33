import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose';

/** Claims of a development token. */
export interface DevClaims {
  sub: string;
  tenant_id: string;
  permissions?: string[];
  role?: 'superadmin';
}

export interface DevIdentity {
  publicKey: JWK;
  /** Issues a token that this service accepts. The default lifetime is 30 days. */
  issueToken(claims: DevClaims, lifetime?: string): Promise<string>;
}

/** Creates or reads the key pair for development. It is stored in a file, so that tokens stay valid after a restart. */
export async function devIdentity(dataPath: string): Promise<DevIdentity> {
  const file = join(dataPath, 'dev-key.json');
  const privateKey = await readKey(file).catch(() => createKey(dataPath, file));
  const { d: _secret, ...publicKey } = privateKey;
  const signingKey = await importJWK(privateKey, 'ES256');
  return {
    publicKey,
    issueToken: (claims, lifetime = '30d') =>
      new SignJWT({ ...claims })
        .setProtectedHeader({ alg: 'ES256', kid: 'dev' })
        .setIssuedAt()
        .setExpirationTime(lifetime)
        .sign(signingKey),
  };
}

const readKey = async (file: string): Promise<JWK> => JSON.parse(await readFile(file, 'utf8')) as JWK;

async function createKey(dataPath: string, file: string): Promise<JWK> {
  const pair = await generateKeyPair('ES256', { extractable: true });
  const key: JWK = { ...(await exportJWK(pair.privateKey)), kid: 'dev', alg: 'ES256' };
  await mkdir(dataPath, { recursive: true });
  await writeFile(file, JSON.stringify(key), { mode: 0o600 });
  return key;
}
