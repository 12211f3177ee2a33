import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/** Revokes one token, or all tokens of a user or tenant that were issued before. */
export const TokenRevocationEntity = defineEntity({
  name: 'TokenRevocationEntity',
  tableName: 'token_revocation',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    /** Null for all users of the tenant. */
    userId: p.text().nullable(),
    /** Claim `jti` of one token; null for every token that was issued before `revokedAt`. */
    tokenId: p.text().nullable(),
    revokedAt: p.datetime().columnType('timestamptz'),
    /** When the row may be deleted, because all revoked tokens have expired. */
    forgetAt: p.datetime().columnType('timestamptz'),
  },
  indexes: [{ name: 'token_revocation_forget', properties: ['forgetAt'] }],
  ...tenantIsolation('token_revocation'),
});
