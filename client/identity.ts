import { fromBase64Url, readUtf8, SealError } from './seal.ts';

export interface Identity {
  tenantId: string;
  userId: string;
}

type Params = Record<string, unknown>;

/**
 * Whose connection a `connection_init` payload asks for, as the server will read it: from the token, but the tenant
 * from `x-tenant-id` where that is given.
 * @throws {SealError} `token_missing`, `token_unreadable`
 */
export function identityIn(params: Params): Identity {
  const claims = claimsOf(tokenIn(params));
  if (typeof claims['sub'] !== 'string') throw new SealError('token_unreadable', 'the token has no claim "sub"');
  const claimed = typeof claims['tenant_id'] === 'string' ? claims['tenant_id'] : '';
  return { tenantId: headerIn(params, 'x-tenant-id') ?? claimed, userId: claims['sub'] };
}

function tokenIn(params: Params): string {
  const { token } = params;
  const said = typeof token === 'string' && token !== '' ? token : headerIn(params, 'authorization');
  if (said === undefined) {
    throw new SealError('token_missing', 'connectionParams needs a token: {token}, or {authorization: "Bearer …"}');
  }
  return said.replace(/^bearer\s+/i, '').trim();
}

/** Headers may be written in any case. Those under `headers` come first. */
function headerIn(params: Params, name: string): string | undefined {
  const { headers } = params;
  const nested = typeof headers === 'object' && headers !== null ? Object.entries(headers) : [];
  for (const [key, value] of [...nested, ...Object.entries(params)]) {
    if (key.toLowerCase() === name && typeof value === 'string' && value !== '') return value;
  }
  return undefined;
}

/** Read, and not verified: that is for the server, which derives the same keys only for what it verified. */
function claimsOf(token: string): Params {
  try {
    const [, payload = ''] = token.split('.');
    const claims = JSON.parse(readUtf8(fromBase64Url(payload))) as unknown;
    if (typeof claims === 'object' && claims !== null) return claims as Params;
  } catch {
    // Said below, without the token.
  }
  throw new SealError('token_unreadable', 'the token is no JWT');
}
