import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/** One template of one tenant: which event, by which channel, in which language. Its text lies in its versions. */
export const NotificationTemplateEntity = defineEntity({
  name: 'NotificationTemplateEntity',
  tableName: 'notification_template',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    eventCode: p.text(),
    channel: p.text(),
    /** BCP 47, e.g. `vi` or `vi-VN`. */
    locale: p.text(),
    isActive: p.boolean().default(true),
    /** The version that is sent; null while nothing was published yet. */
    publishedVersion: p.integer().nullable(),
    createdAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    updatedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    updatedBy: p.text().nullable(),
  },
  uniques: [
    {
      name: 'notification_template_key',
      properties: ['tenantId', 'eventCode', 'channel', 'locale'],
    },
  ],
  ...tenantIsolation('notification_template'),
});

/** One immutable text of a template. A log row names the version that it was rendered from. */
export const NotificationTemplateVersionEntity = defineEntity({
  name: 'NotificationTemplateVersionEntity',
  tableName: 'notification_template_version',
  properties: {
    template: () => p.manyToOne(NotificationTemplateEntity).primary().deleteRule('cascade'),
    version: p.integer().primary(),
    tenantId: p.text(),
    subject: p.text().nullable(),
    body: p.text(),
    /** Plain text beside HTML; null: worked out from it. */
    text: p.text().nullable(),
    /** What is sent in place of the body: that of an email with its layout and partials, as HTML. Null: the body. */
    page: p.text().nullable(),
    defaultParams: p.json<Record<string, unknown>>().defaultRaw(`'{}'`),
    createdAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    createdBy: p.text().nullable(),
  },
  ...tenantIsolation('notification_template_version'),
});
