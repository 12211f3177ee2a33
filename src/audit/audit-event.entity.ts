import { defineEntity, p } from '@mikro-orm/core';

import { tenantWall } from '../database/tenant-wall.ts';

/** Who did what, written in the transaction that did it. No role may change or delete a row. */
export const AuditEventEntity = defineEntity({
  name: 'AuditEventEntity',
  tableName: 'audit_event',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    action: p.text(),
    actorId: p.text().nullable(),
    traceId: p.text(),
    details: p.json<Record<string, unknown>>(),
    timestamp: p.datetime().columnType('timestamptz').defaultRaw('now()'),
  },
  indexes: [{ name: 'audit_event_newest', properties: ['tenantId', 'id'] }],
  ...tenantWall('audit_event'),
});
