import type { IncomingHttpHeaders } from 'node:http';

import { CloseCode } from 'graphql-ws';

import { AppError } from '../../src/errors.ts';
import { bearerToken } from '../../src/identity/verify.ts';

/** What a client says in `connection_init`. */
export type ConnectionParams = Record<string, unknown>;

/** RFC 6455, 7.4.1 and its registry: a client that is turned away comes back by itself. */
export const TRY_AGAIN_LATER = 1013;

/**
 * `token`, or an Authorization header as gateways and tools forward it: at the top, under `headers`, or on the request
 * that opened the socket.
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

/** The socket's side of the error table: 4401 is final for a client, 4403 makes it come back with a new token. */
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
