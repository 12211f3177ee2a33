import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';
import type { Audience, Content, Recipient } from '../intake/command.ts';
import { CHANNELS } from '../intake/channel.ts';
import { LOG_STATUSES } from './status.ts';

const oneOf = (column: string, values: readonly string[]) =>
  `${column} in (${values.map((value) => `'${value}'`).join(', ')})`;

/**
 * One accepted event and what became of it. The table is the queue as well: a row whose status is not terminal is
 * work from `dueAt` on, and while it is `sending`, `dueAt` is the end of its lease.
 */
export const NotificationLogEntity = defineEntity({
  name: 'NotificationLogEntity',
  tableName: 'notification_log',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    eventId: p.uuid(),
    eventType: p.text(),
    eventCode: p.text(),
    isTest: p.boolean().default(false),
    /** The channels to try, in order; empty where the tenant's policy decides. */
    channels: p.array().columnType('text[]'),
    /** The channel in use; null until delivery has chosen one. */
    channel: p.text().nullable(),
    recipient: p.json<Recipient>(),
    audience: p.json<Audience>().nullable(),
    /** Ready-made text of events that bring their own, instead of a template. */
    content: p.json<Content>().nullable(),
    params: p.json<Record<string, unknown>>(),
    /** Event fields that this version does not know, as they came. */
    extra: p.json<Record<string, unknown>>().nullable(),
    category: p.text().nullable(),
    /** 0 high, 1 normal, 2 low. */
    priority: p.smallint().default(1),
    collapseKey: p.text().nullable(),
    expiresAt: p.datetime().columnType('timestamptz').nullable(),
    status: p.text(),
    attempts: p.integer().default(0),
    /** The channels that are tried, in order: decided at the first attempt, so that a change of policy moves nobody. */
    route: p.array().columnType('text[]').nullable(),
    /** Where on the route it stands; above 0 it has fallen back. */
    step: p.smallint().default(0),
    /** Attempts through the channel of this step. */
    stepAttempts: p.smallint().default(0),
    /** The provider that is next, or in use; null: the first of the channel. */
    provider: p.text().nullable(),
    /** Providers that refused for good at this step. */
    excludedProviders: p.array().columnType('text[]').defaultRaw(`'{}'`),
    /** Claims since the row was last settled: many of them, and it takes its process down or never gets that far. */
    claims: p.smallint().default(0),
    /** When it was first due: `send_at`, or when it was accepted. The deadline of its retries counts from here. */
    scheduledAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    dueAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    leaseToken: p.uuid().nullable(),
    /** Its address or its variables are not, or not as they came, there any more: it cannot be sent again. */
    isReduced: p.boolean().default(false),
    templateId: p.uuid().nullable(),
    templateVersion: p.integer().nullable(),
    locale: p.text().nullable(),
    errorCode: p.text().nullable(),
    errorMessage: p.text().nullable(),
    traceId: p.text(),
    traceparent: p.text().nullable(),
    triggerBy: p.text().nullable(),
    eventCreatedAt: p.datetime().columnType('timestamptz'),
    createdAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    updatedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    sentAt: p.datetime().columnType('timestamptz').nullable(),
  },
  checks: [
    { name: 'notification_log_status', expression: oneOf('status', LOG_STATUSES) },
    { name: 'notification_log_channel', expression: oneOf('channel', CHANNELS) },
  ],
  uniques: [{ name: 'notification_log_event', properties: ['tenantId', 'eventId'] }],
  indexes: [
    {
      name: 'notification_log_due',
      properties: ['tenantId', 'priority', 'dueAt'],
      where: `status in ('queued', 'sending', 'retrying')`,
    },
    { name: 'notification_log_newest', properties: ['tenantId', 'id'] },
    {
      name: 'notification_log_collapse',
      properties: ['tenantId', 'collapseKey', 'id'],
      where: 'collapse_key is not null',
    },
  ],
  ...tenantIsolation('notification_log'),
});

/** One try to hand a notification to a provider: written before the provider is called, settled after. */
export const DeliveryAttemptEntity = defineEntity({
  name: 'DeliveryAttemptEntity',
  tableName: 'delivery_attempt',
  properties: {
    log: () => p.manyToOne(NotificationLogEntity).primary().deleteRule('cascade'),
    number: p.integer().primary(),
    tenantId: p.text(),
    channel: p.text(),
    provider: p.text(),
    startedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    durationMs: p.integer().nullable(),
    /** `ok`, `transient`, `permanent`, or `unknown` after a crash; null while the provider has it in hand. */
    outcome: p.text().nullable(),
    providerMessageId: p.text().nullable(),
    errorCode: p.text().nullable(),
    errorMessage: p.text().nullable(),
  },
  checks: [
    {
      name: 'delivery_attempt_outcome',
      expression: oneOf('outcome', ['ok', 'transient', 'permanent', 'unknown']),
    },
  ],
  ...tenantIsolation('delivery_attempt'),
});
