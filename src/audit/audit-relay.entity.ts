import { defineEntity, p } from '@mikro-orm/core';

/** Position of the audit relay: the last event that the audit service has accepted. */
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
