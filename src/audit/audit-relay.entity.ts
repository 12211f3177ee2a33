import { defineEntity, p } from '@mikro-orm/core';

/** How far audit events were passed on to another service: the last one that it took. */
export const AuditRelayEntity = defineEntity({
  name: 'AuditRelayEntity',
  tableName: 'audit_relay',
  properties: {
    name: p.text().primary(),
    xid: p.text().columnType('xid8'),
    eventId: p.uuid(),
    passedOnAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
  },
});
