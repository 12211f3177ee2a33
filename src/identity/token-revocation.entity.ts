import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/** Tokens that are not to be accepted any more although they have not expired. */
export const TokenRevocationEntity = defineEntity({
  name: 'TokenRevocationEntity',
  tableName: 'token_revocation',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    /** Of this person alone; null: see `tokenId`. */
    userId: p.text().nullable(),
    /** The claim `jti` of one token; null: every token of the person, or of the tenant, that is older. */
    tokenId: p.text().nullable(),
    revokedAt: p.datetime().columnType('timestamptz'),
    /** By then the tokens have expired. */
    forgetAt: p.datetime().columnType('timestamptz'),
  },
  indexes: [{ name: 'token_revocation_forget', properties: ['forgetAt'] }],
  ...tenantIsolation('token_revocation'),
});
