import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/** An input that could not become a notification, kept as it came and with the reason. */
export const RejectedEventEntity = defineEntity({
  name: 'RejectedEventEntity',
  tableName: 'rejected_event',
  properties: {
    id: p.uuid().primary(),
    /** Null where the input was too broken to say whose it is. */
    tenantId: p.text().nullable(),
    eventType: p.text().nullable(),
    reason: p.text(),
    message: p.text(),
    raw: p.blob(),
    headers: p.json<Record<string, string>>(),
    /** `kafka` or `http`. */
    source: p.text(),
    topic: p.text().nullable(),
    partition: p.integer().nullable(),
    offset: p.bigint('string').nullable(),
    replayedAt: p.datetime().columnType('timestamptz').nullable(),
    /** The delivery record that it became after all. */
    replayedLogId: p.uuid().nullable(),
    replayedBy: p.text().nullable(),
    receivedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
  },
  // A batch that Kafka hands out twice is rejected once.
  uniques: [{ name: 'rejected_event_position', properties: ['topic', 'partition', 'offset'] }],
  indexes: [{ name: 'rejected_event_newest', properties: ['tenantId', 'id'] }],
  ...tenantIsolation('rejected_event'),
});
