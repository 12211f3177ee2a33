import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';
import type { Channel } from '../intake/channel.ts';

/** A person's choice for one category on one channel. Without a row, the category's default applies. */
export const NotificationPreferenceEntity = defineEntity({
  name: 'NotificationPreferenceEntity',
  tableName: 'notification_preference',
  properties: {
    tenantId: p.text().primary(),
    userId: p.text().primary(),
    category: p.text().primary(),
    channel: p.text().$type<Channel>().primary(),
    isEnabled: p.boolean(),
    updatedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
  },
  ...tenantIsolation('notification_preference'),
});

/** Settings of a person that do not depend on an event. */
export const RecipientProfileEntity = defineEntity({
  name: 'RecipientProfileEntity',
  tableName: 'recipient_profile',
  properties: {
    tenantId: p.text().primary(),
    userId: p.text().primary(),
    /** IANA time zone. */
    timeZone: p.text().strictNullable(),
    updatedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
  },
  ...tenantIsolation('recipient_profile'),
});
