import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/**
 * One person's inbox. Every change of the inbox locks this row first and takes the next `seq` from it, so that commit
 * order is `seq` order. The unread count is stored here, so that the cost of reading it does not depend on the inbox.
 */
export const InboxEntity = defineEntity({
  name: 'InboxEntity',
  tableName: 'inbox',
  properties: {
    tenantId: p.text().primary(),
    userId: p.text().primary(),
    lastSeq: p.bigint('number').default(0),
    unreadCount: p.integer().default(0),
  },
  ...tenantIsolation('inbox'),
});

/** One notification in one person's inbox. */
export const NotificationEntity = defineEntity({
  name: 'NotificationEntity',
  tableName: 'notification',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    userId: p.text(),
    /** Position in the inbox; it never changes. */
    createdSeq: p.bigint('number'),
    /** Position of the latest change; equal to `createdSeq` before the first change. */
    seq: p.bigint('number'),
    logId: p.uuid(),
    type: p.text(),
    category: p.text().nullable(),
    title: p.text().nullable(),
    body: p.text(),
    data: p.json<Record<string, unknown>>().nullable(),
    actionUrl: p.text().nullable(),
    recipientScope: p.text(),
    actorId: p.text().nullable(),
    createdAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    readAt: p.datetime().columnType('timestamptz').nullable(),
    archivedAt: p.datetime().columnType('timestamptz').nullable(),
  },
  uniques: [
    { name: 'notification_position', properties: ['tenantId', 'userId', 'createdSeq'] },
    { name: 'notification_change', properties: ['tenantId', 'userId', 'seq'] },
    // A repeated delivery of an event creates no second notification for a person.
    { name: 'notification_once', properties: ['logId', 'userId'] },
  ],
  indexes: [
    {
      name: 'notification_unread',
      properties: ['tenantId', 'userId', 'createdSeq'],
      where: 'read_at is null and archived_at is null',
    },
  ],
  ...tenantIsolation('notification'),
});
