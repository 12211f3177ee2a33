import { fromBase64Url, readUtf8, SealError } from './seal.ts';

export interface Identity {
  tenantId: string;
  userId: string;
}

type Params = Record<string, unknown>;

/**
 * Reads tenant and user from a `connection_init` payload, exactly as the server does: both from the token, but the
 * tenant from `x-tenant-id` if that is present.
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
  const bearer = typeof token === 'string' && token !== '' ? token : headerIn(params, 'authorization');
  if (bearer === undefined) {
    throw new SealError('token_missing', 'connectionParams needs a token: {token}, or {authorization: "Bearer …"}');
  }
  return bearer.replace(/^bearer\s+/i, '').trim();
}

/** Finds a header in any case. Headers under `headers` take precedence. */
function headerIn(params: Params, name: string): string | undefined {
  const { headers } = params;
  const nested = typeof headers === 'object' && headers !== null ? Object.entries(headers) : [];
  for (const [key, value] of [...nested, ...Object.entries(params)]) {
    if (key.toLowerCase() === name && typeof value === 'string' && value !== '') return value;
  }
  return undefined;
}

/**
 * Decodes the claims without verification. The server verifies the token and derives its keys from the verified ids.
 */
function claimsOf(token: string): Params {
  try {
    const [, payload = ''] = token.split('.');
    const claims = JSON.parse(readUtf8(fromBase64Url(payload))) as unknown;
    if (typeof claims === 'object' && claims !== null) return claims as Params;
  } catch {
    // Reported below. The original error may contain parts of the token.
  }
  throw new SealError('token_unreadable', 'the token is not a JWT');
}
