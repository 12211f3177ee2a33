import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { importJWK, type JWK, jwtVerify } from 'jose';

/** Verifies a bearer token as in the documentation of jose. All servers authenticate. */
export async function verifier(
  dataPath: string,
): Promise<(authorization?: string) => Promise<{ tenantId: string; userId: string }>> {
  const { d: _secret, ...publicKey } = JSON.parse(await readFile(join(dataPath, 'dev-key.json'), 'utf8')) as JWK;
  const key = await importJWK(publicKey, 'ES256');
  return async (authorization = '') => {
    const { payload } = await jwtVerify(authorization.replace(/^Bearer /, ''), key, { algorithms: ['ES256'] });
    return { tenantId: String(payload['tenant_id']), userId: String(payload.sub) };
  };
}
