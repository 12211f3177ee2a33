import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

import { ExactJsonType } from '../database/exact-json-type.ts';
import { tenantIsolation } from '../database/row-level-security.ts';
import type { Channel } from '../intake/channel.ts';

/** A tenant's template for one event code, channel and locale. Its texts are its versions. */
export const NotificationTemplateEntity = defineEntity({
  name: 'NotificationTemplateEntity',
  tableName: 'notification_template',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    eventCode: p.text(),
    channel: p.text().$type<Channel>(),
    /** BCP 47, e.g. `vi` or `vi-VN`. */
    locale: p.text(),
    isActive: p.boolean().default(true),
    /**
     * Number of the newest version, which may be a draft. It is the optimistic lock of drafting: each new version
     * increments it. Publishing and activating add no version, so they keep it.
     */
    revision: p.integer().version().default(1),
    /** The version that the service sends; null before the first publication. */
    publishedVersion: p.integer().strictNullable(),
    createdAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    updatedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    updatedBy: p.text().strictNullable(),
    versions: () => p.oneToMany(NotificationTemplateVersionEntity).mappedBy('template'),
  },
  uniques: [
    {
      name: 'notification_template_key',
      properties: ['tenantId', 'eventCode', 'channel', 'locale'],
    },
  ],
  ...tenantIsolation('notification_template'),
});

export type StoredTemplate = InferEntity<typeof NotificationTemplateEntity>;

/** One immutable text of a template. A delivery record names the version that it was rendered from. */
export const NotificationTemplateVersionEntity = defineEntity({
  name: 'NotificationTemplateVersionEntity',
  tableName: 'notification_template_version',
  properties: {
    template: () => p.manyToOne(NotificationTemplateEntity).primary().deleteRule('cascade'),
    version: p.integer().primary(),
    tenantId: p.text(),
    subject: p.text().strictNullable(),
    body: p.text(),
    /** Plain text beside HTML; when null, it is derived from the HTML. */
    text: p.text().strictNullable(),
    /** Complete HTML of an email: the body with its layout and partials. Null when the body itself is sent. */
    page: p.text().strictNullable(),
    defaultParams: p.type(ExactJsonType).columnType('jsonb').defaultRaw(`'{}'`),
    createdAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    createdBy: p.text().strictNullable(),
  },
  ...tenantIsolation('notification_template_version'),
});

export type StoredTemplateVersion = InferEntity<typeof NotificationTemplateVersionEntity>;
