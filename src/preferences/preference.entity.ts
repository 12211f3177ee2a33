import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/** What one person decided about one category on one channel. Where there is no row, the category's default holds. */
export const NotificationPreferenceEntity = defineEntity({
  name: 'NotificationPreferenceEntity',
  tableName: 'notification_preference',
  properties: {
    tenantId: p.text().primary(),
    userId: p.text().primary(),
    category: p.text().primary(),
    channel: p.text().primary(),
    isEnabled: p.boolean(),
    updatedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
  },
  ...tenantIsolation('notification_preference'),
});

/** What is known of a person beyond what events say. */
export const RecipientProfileEntity = defineEntity({
  name: 'RecipientProfileEntity',
  tableName: 'recipient_profile',
  properties: {
    tenantId: p.text().primary(),
    userId: p.text().primary(),
    /** IANA name. */
    timeZone: p.text().nullable(),
    updatedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
  },
  ...tenantIsolation('recipient_profile'),
});
