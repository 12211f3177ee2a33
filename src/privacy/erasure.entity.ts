import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';
import type { Recipient } from '../intake/command.ts';

/** A person who is to be forgotten. Once they are, this says how much there was, and not any more who it was. */
export const ErasureEntity = defineEntity({
  name: 'ErasureEntity',
  tableName: 'erasure',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    userId: p.text().nullable(),
    addresses: p.json<Recipient>().defaultRaw(`'{}'`),
    requestedBy: p.text(),
    traceId: p.text(),
    requestedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    /** The last delivery record that was looked at. */
    cursor: p.uuid().nullable(),
    notifications: p.integer().default(0),
    deliveryRecords: p.integer().default(0),
    others: p.integer().default(0),
    completedAt: p.datetime().columnType('timestamptz').nullable(),
  },
  indexes: [
    { name: 'erasure_open', properties: ['id'], where: 'completed_at is null' },
    { name: 'erasure_newest', properties: ['tenantId', 'id'] },
  ],
  ...tenantIsolation('erasure'),
});

/** How far a job that goes through a tenant's delivery records has come. */
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
