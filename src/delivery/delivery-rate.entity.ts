import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/** A token bucket that all processes draw from: of a tenant as a whole, or of one of its providers. */
export const DeliveryRateEntity = defineEntity({
  name: 'DeliveryRateEntity',
  tableName: 'delivery_rate',
  properties: {
    tenantId: p.text().primary(),
    /** Empty for the tenant as a whole, else `channel/provider`. */
    key: p.text().primary(),
    tokens: p.double(),
    /** How many the last draw was given. */
    granted: p.integer().default(0),
    refilledAt: p.datetime().columnType('timestamptz'),
    /** From when on the next message over the rate is told to come again. */
    nextSlotAt: p.datetime().columnType('timestamptz'),
  },
  ...tenantIsolation('delivery_rate'),
});
