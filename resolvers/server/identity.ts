import type { FastifyRequest } from 'fastify';

import { AppError } from '../../src/errors.ts';
import type { Actor } from '../../src/identity/actor.ts';
import { type Authenticate, bearerToken } from '../../src/identity/verify.ts';

/**
 * Reads the caller from the Authorization header.
 *
 * @returns undefined for a request without a token where the schema may be read without one.
 * @throws `unauthenticated`, `invalid_token`, `token_expired`, `tenant_mismatch` or `identity_unavailable`
 */
export async function identify(
  { headers }: FastifyRequest,
  { authenticate, isSchemaOpen }: { authenticate: Authenticate; isSchemaOpen: boolean },
): Promise<Actor | undefined> {
  const { authorization } = headers;
  if (authorization === undefined && isSchemaOpen) return undefined;
  const tenant = headers['x-tenant-id'];
  const token = bearerToken(authorization);
  if (authorization !== undefined && token === undefined && authorization.trim() !== '') {
    throw new AppError('invalid_token', 'Authorization must be: Bearer <JWT>.', { status: 400 });
  }
  return authenticate(token, Array.isArray(tenant) ? tenant[0] : tenant);
}
