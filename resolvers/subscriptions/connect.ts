import type { IncomingHttpHeaders } from 'node:http';

import { CloseCode } from 'graphql-ws';

import { AppError } from '../../src/errors.ts';
import { bearerToken } from '../../src/identity/verify.ts';

/** Payload of `connection_init`. */
export type ConnectionParams = Record<string, unknown>;

/** Close code (IANA WebSocket registry): the server is overloaded, and the client should reconnect later. */
export const TRY_AGAIN_LATER = 1013;

/**
 * Returns the token: from `token`, or from an Authorization header in the payload, under `headers`, or in the upgrade
 * request, as gateways and tools forward it.
 */
export function tokenIn(params: ConnectionParams, headers: IncomingHttpHeaders): string | undefined {
  const { token } = params;
  if (typeof token === 'string' && token !== '') return bearerToken(token) ?? token;
  const header = headerIn(params, 'authorization') ?? headers.authorization;
  return header === undefined ? undefined : (bearerToken(header) ?? header);
}

export const tenantIn = (params: ConnectionParams, headers: IncomingHttpHeaders): string | undefined =>
  headerIn(params, 'x-tenant-id') ?? headers['x-tenant-id']?.toString();

function headerIn(params: ConnectionParams, name: string): string | undefined {
  const headers = typeof params['headers'] === 'object' && params['headers'] !== null ? params['headers'] : {};
  for (const [key, value] of [...Object.entries(headers), ...Object.entries(params)]) {
    if (key.toLowerCase() === name && typeof value === 'string' && value !== '') return value;
  }
  return undefined;
}

/** Returns the close code and reason of an error. 4401 is final; after 4403 the client reconnects with a new token. */
export function closeCode(error: unknown): [number, string] {
  if (!(error instanceof AppError)) return [CloseCode.InternalServerError, 'internal'];
  switch (error.code) {
    case 'token_expired':
    case 'token_revoked':
    case 'tenant_mismatch':
      return [CloseCode.Forbidden, error.code];
    case 'invalid_token':
      return [error.status === 400 ? CloseCode.BadRequest : CloseCode.Unauthorized, error.code];
    case 'validation_failed':
      return [CloseCode.BadRequest, error.code];
    case 'identity_unavailable':
      return [CloseCode.InternalServerError, error.code];
    case 'rate_limited':
      return [TRY_AGAIN_LATER, error.code];
    default:
      return [CloseCode.Unauthorized, error.code];
  }
}
