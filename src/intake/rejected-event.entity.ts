import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/** Reasons why an input cannot become a notification. */
export type RejectionReason =
  | 'malformed_event'
  | 'validation_failed'
  | 'unsupported_type'
  | 'unsupported_version'
  | 'tenant_mismatch';

/** An input that could not become a notification: its original bytes and the reason. */
export const RejectedEventEntity = defineEntity({
  name: 'RejectedEventEntity',
  tableName: 'rejected_event',
  properties: {
    id: p.uuid().primary(),
    /** Null when the tenant could not be read from the input. */
    tenantId: p.text().strictNullable(),
    eventType: p.text().strictNullable(),
    reason: p.text().$type<RejectionReason>(),
    message: p.text(),
    raw: p.blob().$type<Buffer>(),
    headers: p.json<Record<string, string>>(),
    source: p.text().$type<'kafka' | 'http'>(),
    topic: p.text().strictNullable(),
    partition: p.integer().strictNullable(),
    offset: p.bigint('string').strictNullable(),
    replayedAt: p.datetime().columnType('timestamptz').strictNullable(),
    /** The delivery record that a replay created. */
    replayedLogId: p.uuid().strictNullable(),
    replayedBy: p.text().strictNullable(),
    receivedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
  },
  // Kafka may deliver a batch twice; its events are rejected once.
  uniques: [{ name: 'rejected_event_position', properties: ['topic', 'partition', 'offset'] }],
  indexes: [{ name: 'rejected_event_newest', properties: ['tenantId', 'id'] }],
  ...tenantIsolation('rejected_event'),
});

export type RejectedEvent = InferEntity<typeof RejectedEventEntity>;
