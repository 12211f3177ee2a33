import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/** An address that is not used any more. Of the address itself only a hash is kept, and what people may see of it. */
export const SuppressionEntity = defineEntity({
  name: 'SuppressionEntity',
  tableName: 'suppression',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    channel: p.text(),
    addressHash: p.text(),
    addressMasked: p.text(),
    /** Empty: of every category. */
    category: p.text().default(''),
    reason: p.text(),
    /** The delivery that found out. */
    sourceLogId: p.uuid().nullable(),
    createdBy: p.text().nullable(),
    createdAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
  },
  checks: [
    {
      name: 'suppression_reason',
      expression: `reason in ('hard_bounce', 'complaint', 'unsubscribed', 'manual')`,
    },
  ],
  uniques: [{ name: 'suppression_address', properties: ['tenantId', 'channel', 'addressHash', 'category'] }],
  indexes: [{ name: 'suppression_newest', properties: ['tenantId', 'id'] }],
  ...tenantIsolation('suppression'),
});
