import { createHash } from 'node:crypto';

import { hashesOf } from '../privacy/at-rest.ts';
import type { Audience, Recipient } from './command.ts';

/**
 * Returns the key by which `notification_log_key` finds the records of a trace or a person: a hash of 128 bits, in the
 * form of a UUID. It differs between tenants.
 */
export const searchKey = (kind: 'trace' | 'user', tenantId: string, value: string): string =>
  asUuid(createHash('sha256').update(`${kind}\n${tenantId}\n${value}`).digest('hex'));

/** Returns the SQL of the key of the trace of `record`, for statements that change many records. */
export const traceKeySql = (record: string): string =>
  `substr(encode(sha256(convert_to('trace' || E'\\n' || ${record}.tenant_id || E'\\n' || ${record}.trace_id, 'UTF8')),
    'hex'), 1, 32)::uuid`;

/** Returns the keys of a person's addresses. They find a record whatever form of the address it stores. */
export const addressKeys = (tenantId: string, recipient: Recipient): string[] =>
  hashesOf(tenantId, recipient).map(asUuid);

/** Returns all keys of a delivery record: of its trace, its recipient's id and addresses, and the users that it names. */
export function searchKeysOf(
  tenantId: string,
  { traceId, recipient, audience }: { traceId: string; recipient: Recipient; audience?: Audience | null | undefined },
): string[] {
  const users = new Set(audience?.scope === 'users' ? audience.userIds : []);
  if (recipient.user_id !== undefined) users.add(recipient.user_id);
  return [
    searchKey('trace', tenantId, traceId),
    ...[...users].map((userId) => searchKey('user', tenantId, userId)),
    ...addressKeys(tenantId, recipient),
  ];
}

const asUuid = (hash: string): string => hash.slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
