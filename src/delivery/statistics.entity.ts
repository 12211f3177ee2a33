import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/**
 * Changes of the statistics that are not yet added to `delivery_statistic`. Transactions only insert here, so that those
 * that count for the same group never wait for each other.
 */
export const DeliveryStatisticDeltaEntity = defineEntity({
  name: 'DeliveryStatisticDeltaEntity',
  tableName: 'delivery_statistic_delta',
  properties: {
    tenantId: p.text().primary(),
    /** Start of the hour (UTC) in which the notifications were accepted. */
    hour: p.datetime().columnType('timestamptz').primary(),
    id: p.uuid().primary().defaultRaw('gen_random_uuid()'),
    eventCode: p.text(),
    /** Empty if the notifications have no channel. */
    channel: p.text(),
    status: p.text(),
    /** The nil UUID if the notifications have no template. */
    templateId: p.uuid(),
    /** Latency bucket, see `statistics-buckets.ts`. */
    bucket: p.smallint(),
    /** Negative if the notifications went back into the queue. */
    count: p.integer(),
  },
  ...tenantIsolation('delivery_statistic_delta'),
});

/** Number of finished notifications of each group and latency bucket, in six levels of detail. */
export const DeliveryStatisticEntity = defineEntity({
  name: 'DeliveryStatisticEntity',
  tableName: 'delivery_statistic',
  properties: {
    tenantId: p.text().primary(),
    /**
     * `hour` and `day`: one row for each group. `hour_channel` and `day_channel`: event codes and templates added up.
     * `hour_total` and `day_total`: channels added up, too.
     */
    level: p.text().primary(),
    /** Start of the hour or day (UTC) in which the notifications were accepted. */
    startsAt: p.datetime().columnType('timestamptz').primary(),
    /** Empty where event codes are added up. */
    eventCode: p.text().primary(),
    /** Empty where channels are added up, and if the notifications have no channel. */
    channel: p.text().primary(),
    status: p.text().primary(),
    /** The nil UUID where templates are added up, and if the notifications have no template. */
    templateId: p.uuid().primary(),
    /** Latency bucket, see `statistics-buckets.ts`. */
    bucket: p.smallint().primary(),
    /** 0 if all notifications of the group went back into the queue. */
    count: p.integer(),
  },
  indexes: [{ name: 'delivery_statistic_age', properties: ['startsAt'] }],
  checks: [
    {
      name: 'delivery_statistic_level',
      expression: `level in ('hour', 'day', 'hour_channel', 'day_channel', 'hour_total', 'day_total')`,
    },
  ],
  ...tenantIsolation('delivery_statistic'),
});
