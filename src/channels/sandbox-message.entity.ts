import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/** A message that sandbox mode captured instead of sending. */
export const SandboxMessageEntity = defineEntity({
  name: 'SandboxMessageEntity',
  tableName: 'sandbox_message',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    logId: p.uuid(),
    channel: p.text(),
    recipient: p.text(),
    sender: p.text().nullable(),
    subject: p.text().nullable(),
    text: p.text().nullable(),
    html: p.text().nullable(),
    headers: p.json<Record<string, string>>(),
    capturedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
  },
  // A message that is captured again after a crash is stored once.
  uniques: [{ name: 'sandbox_message_once', properties: ['logId', 'channel'] }],
  ...tenantIsolation('sandbox_message'),
});
