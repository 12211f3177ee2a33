import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';
import type { Channel } from '../intake/channel.ts';

/** Values of `reason`. */
export const SUPPRESSION_REASONS = ['hard_bounce', 'complaint', 'unsubscribed', 'manual'] as const;
export type SuppressionReason = (typeof SUPPRESSION_REASONS)[number];

/** An address that the service does not send to. The address itself is not stored: only its hash and its masked form. */
export const SuppressionEntity = defineEntity({
  name: 'SuppressionEntity',
  tableName: 'suppression',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    channel: p.text().$type<Channel>(),
    addressHash: p.text(),
    addressMasked: p.text(),
    /** Empty when the suppression applies to every category. */
    category: p.text().default(''),
    reason: p.text().$type<SuppressionReason>(),
    /** Delivery that caused the suppression; null when an admin added it. */
    sourceLogId: p.uuid().strictNullable(),
    createdBy: p.text().strictNullable(),
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

export type Suppression = InferEntity<typeof SuppressionEntity>;
