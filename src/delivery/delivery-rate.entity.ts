import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/** A token bucket of a tenant or of one of its providers, shared by all processes. */
export const DeliveryRateEntity = defineEntity({
  name: 'DeliveryRateEntity',
  tableName: 'delivery_rate',
  properties: {
    tenantId: p.text().primary(),
    /** `channel/provider`; empty for the bucket of the tenant. */
    key: p.text().primary(),
    tokens: p.double(),
    /** Number of tokens that the last draw received. */
    granted: p.integer().default(0),
    refilledAt: p.datetime().columnType('timestamptz'),
    /** Earliest retry time for the next message over the rate. */
    nextSlotAt: p.datetime().columnType('timestamptz'),
  },
  ...tenantIsolation('delivery_rate'),
});
