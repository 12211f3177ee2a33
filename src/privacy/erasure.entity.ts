import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';
import type { Recipient } from '../intake/command.ts';

/** A request to erase one person's data. After completion only the counts remain: the person's ids are removed. */
export const ErasureEntity = defineEntity({
  name: 'ErasureEntity',
  tableName: 'erasure',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    userId: p.text().strictNullable(),
    addresses: p.json<Recipient>().defaultRaw(`'{}'`),
    requestedBy: p.text(),
    traceId: p.text(),
    requestedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    /** Id of the last delivery record that was checked; null at the start and after completion. */
    cursor: p.uuid().strictNullable(),
    /** Id of the last rejected event that was checked; null at the start and after completion. */
    rejectedCursor: p.uuid().strictNullable(),
    notifications: p.integer().default(0),
    deliveryRecords: p.integer().default(0),
    others: p.integer().default(0),
    completedAt: p.datetime().columnType('timestamptz').strictNullable(),
  },
  indexes: [
    { name: 'erasure_open', properties: ['id'], where: 'completed_at is null' },
    { name: 'erasure_newest', properties: ['tenantId', 'id'] },
  ],
  ...tenantIsolation('erasure'),
});

export type StoredErasure = InferEntity<typeof ErasureEntity>;

/** Progress of a background job over a tenant's delivery records. */
export const PrivacyJobEntity = defineEntity({
  name: 'PrivacyJobEntity',
  tableName: 'privacy_job',
  properties: {
    tenantId: p.text().primary(),
    kind: p.text().primary(),
    cursor: p.uuid(),
    updatedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
  },
  ...tenantIsolation('privacy_job'),
});
