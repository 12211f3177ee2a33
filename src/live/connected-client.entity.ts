import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/** A process with open sockets. When its heartbeats stop, it and its clients are considered gone. */
export const LiveInstanceEntity = defineEntity({
  name: 'LiveInstanceEntity',
  tableName: 'live_instance',
  properties: {
    id: p.uuid().primary(),
    seenAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
  },
});

/** An open connection of an authenticated user. */
export const ConnectedClientEntity = defineEntity({
  name: 'ConnectedClientEntity',
  tableName: 'connected_client',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    userId: p.text(),
    instanceId: p.uuid(),
    transport: p.text(),
    connectedAt: p.datetime().columnType('timestamptz'),
  },
  indexes: [
    { name: 'connected_client_newest', properties: ['tenantId', 'id'] },
    { name: 'connected_client_instance', properties: ['instanceId'] },
  ],
  ...tenantIsolation('connected_client'),
});
