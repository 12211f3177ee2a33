import { defineEntity, p } from '@mikro-orm/core';

/** A running dispatcher. Others take over its rows when its heartbeats stop. It belongs to no tenant. */
export const DispatcherInstanceEntity = defineEntity({
  name: 'DispatcherInstanceEntity',
  tableName: 'dispatcher_instance',
  properties: {
    id: p.uuid().primary(),
    seenAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
  },
});
