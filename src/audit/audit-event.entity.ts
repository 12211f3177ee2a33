import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/** An audit event, written in the transaction of the action. No database role may change or delete a row. */
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
    /**
     * Id of the writing transaction. The relay orders by it, because ids of rows do not follow the order of commits.
     */
    xid: p.text().columnType('xid8').defaultRaw('pg_current_xact_id()'),
  },
  indexes: [
    { name: 'audit_event_newest', properties: ['tenantId', 'id'] },
    { name: 'audit_event_action', properties: ['tenantId', 'action', 'id'] },
    { name: 'audit_event_actor', properties: ['tenantId', 'actorId', 'id'], where: 'actor_id is not null' },
    { name: 'audit_event_trace', properties: ['tenantId', 'traceId', 'id'] },
    { name: 'audit_event_committed', properties: ['xid', 'id'] },
  ],
  ...tenantIsolation('audit_event'),
});
