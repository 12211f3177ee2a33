import { decodeProtectedHeader, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose';
import { LRUCache } from 'lru-cache';

import { AppError } from '../errors.ts';
import { checkStorable } from '../intake/storable.ts';
import type { Actor } from './actor.ts';
import { KeysUnavailable } from './keys.ts';

/** Asymmetric algorithms only: with a symmetric one, the public key could be used to sign tokens. */
const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];

export interface TokenRules {
  keys: JWTVerifyGetKey;
  /** Returns true for a token that was revoked before it expired. */
  isRevoked: (actor: Actor) => boolean;
  issuer?: string;
  audience?: string;
}

/**
 * Verifies a token and returns its actor. `tenantHeader` is the request's `X-Tenant-ID`.
 *
 * @throws {AppError} `unauthenticated`, `token_expired`, `token_revoked`, `invalid_token`, `tenant_mismatch`,
 * `identity_unavailable`
 */
export type Authenticate = (token: string | undefined, tenantHeader?: string) => Promise<Actor>;

/** Allowed difference between the issuer's clock and ours, in seconds. */
const CLOCK_TOLERANCE = 5;

/** Time for which a verified token is cached, in milliseconds. A withdrawn key is accepted for this time. */
const TRUSTED_MS = 30_000;
const TRUSTED_TOKENS = 10_000;

export function createAuthenticator({ keys, isRevoked, issuer, audience }: TokenRules): Authenticate {
  const options = {
    algorithms: ALGORITHMS,
    requiredClaims: ['exp', 'sub'],
    clockTolerance: CLOCK_TOLERANCE,
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
  };
  // Cached, because verifying a signature costs as much as a small query.
  const trusted = new LRUCache<string, JWTPayload>({ max: TRUSTED_TOKENS, ttl: TRUSTED_MS });
  const verify = async (token: string): Promise<JWTPayload> => {
    const known = trusted.get(token);
    // The library handles expired tokens with its tolerance and its error.
    if (known && (known.exp as number) * 1_000 > Date.now()) return known;
    assertLooksLikeJwt(token);
    try {
      const { payload } = await jwtVerify(token, keys, options);
      assertIssued(payload);
      trusted.set(token, payload);
      return payload;
    } catch (error) {
      throw asAppError(error);
    }
  };
  return async (token, tenantHeader) => {
    if (!token) throw new AppError('unauthenticated', 'A bearer token is required.');
    const payload = await verify(token);
    const actor = toActor(payload, tenantHeader);
    if (isRevoked(actor)) throw new AppError('token_revoked', 'The token was revoked.');
    return actor;
  };
}

/** Returns the token of an `Authorization: Bearer …` header; undefined for other headers. */
export const bearerToken = (header: string | undefined): string | undefined =>
  /^Bearer +(\S+)$/i.exec(header ?? '')?.[1];

function assertLooksLikeJwt(token: string): void {
  try {
    if (token.split('.').length !== 3) throw new Error('a JWT must have three parts');
    decodeProtectedHeader(token);
  } catch (error) {
    throw new AppError('invalid_token', 'The token is not a JWT.', { status: 400, cause: error });
  }
}

/**
 * Refuses tokens that were issued in the future, because a revocation would not match them. The library allows them.
 */
function assertIssued({ iat }: JWTPayload): void {
  if (iat !== undefined && iat > Date.now() / 1_000 + CLOCK_TOLERANCE) {
    throw new errors.JWTClaimValidationFailed('"iat" claim timestamp check failed', {}, 'iat', 'check_failed');
  }
}

function asAppError(error: unknown): AppError {
  if (error instanceof errors.JWTExpired) return new AppError('token_expired', 'The token has expired.');
  const isOutage =
    error instanceof KeysUnavailable ||
    error instanceof errors.JWKSTimeout ||
    (error instanceof Error && error.cause instanceof KeysUnavailable);
  if (isOutage) {
    return new AppError('identity_unavailable', 'The keys that verify tokens are unavailable. Try again later.', {
      cause: error,
    });
  }
  return new AppError('invalid_token', 'The token is invalid: its signature or one of its claims was refused.', {
    cause: error,
  });
}

function toActor(payload: JWTPayload, tenantHeader: string | undefined): Actor {
  const isSuperadmin = payload['role'] === 'superadmin';
  if (checkStorable(payload)) {
    throw new AppError('invalid_token', 'A claim of the token contains U+0000 or half a surrogate pair.');
  }
  if (typeof payload.sub !== 'string' || payload.sub === '') {
    throw new AppError('invalid_token', 'The claim sub must be a non-empty string.');
  }
  const claimed = payload['tenant_id'];
  if (claimed !== undefined && (typeof claimed !== 'string' || claimed === '')) {
    throw new AppError('invalid_token', 'The claim tenant_id must be a non-empty string.');
  }
  const permissions = payload['permissions'] ?? [];
  if (!Array.isArray(permissions) || permissions.some((name) => typeof name !== 'string')) {
    throw new AppError('invalid_token', 'The claim permissions must be a list of strings.');
  }
  if (claimed === undefined && !isSuperadmin) {
    throw new AppError('invalid_token', 'The claim tenant_id is missing.');
  }
  const wanted = tenantHeader?.trim() || claimed;
  if (wanted !== claimed && !isSuperadmin) {
    throw new AppError('tenant_mismatch', 'X-Tenant-ID differs from the tenant of the token. Leave the header out.');
  }
  if (wanted === undefined) {
    throw new AppError('tenant_mismatch', 'The token of a superadmin has no tenant. Send the header X-Tenant-ID.');
  }
  return {
    tenantId: wanted,
    userId: payload.sub,
    permissions: new Set(permissions as string[]),
    isSuperadmin,
    homeTenantId: claimed,
    issuedAt: payload.iat === undefined ? undefined : new Date(payload.iat * 1000),
    expiresAt: new Date((payload.exp as number) * 1000),
    tokenId: payload.jti,
  };
}
