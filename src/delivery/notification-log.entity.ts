import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';
import type { Audience, Content, Recipient } from '../intake/command.ts';
import { CHANNELS } from '../intake/channel.ts';
import { isTerminal, LOG_STATUSES } from './status.ts';

const oneOf = (column: string, values: readonly string[]) =>
  `${column} in (${values.map((value) => `'${value}'`).join(', ')})`;

const OPEN = oneOf(
  'status',
  LOG_STATUSES.filter((status) => !isTerminal(status)),
);
const ENDED = oneOf('status', LOG_STATUSES.filter(isTerminal));

/**
 * One accepted event and its delivery status. The table is also the queue: a row whose status is not terminal is claimed
 * from `dueAt` on. While the status is `sending`, `dueAt` is the end of the lease.
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
    /** Channels that the event names, in order; empty if the tenant's policy decides. */
    channels: p.array().columnType('text[]'),
    /** The channel in use; null until delivery has chosen one. */
    channel: p.text().nullable(),
    recipient: p.json<Recipient>(),
    audience: p.json<Audience>().nullable(),
    /** Text of events that are not rendered from a template. */
    content: p.json<Content>().nullable(),
    params: p.json<Record<string, unknown>>(),
    /** Unknown event fields, unchanged. */
    extra: p.json<Record<string, unknown>>().nullable(),
    category: p.text().nullable(),
    /** 0 high, 1 normal, 2 low. */
    priority: p.smallint().default(1),
    collapseKey: p.text().nullable(),
    expiresAt: p.datetime().columnType('timestamptz').nullable(),
    status: p.text(),
    attempts: p.integer().default(0),
    /** Channels that are tried, in order. Fixed at the first attempt, so that a policy change does not affect it. */
    route: p.array().columnType('text[]').nullable(),
    /** Index of the current channel in `route`; above 0, the delivery has fallen back. */
    step: p.smallint().default(0),
    /** Number of attempts through the channel of this step. */
    stepAttempts: p.smallint().default(0),
    /** Current or next provider; null for the first provider of the channel. */
    provider: p.text().nullable(),
    /** Providers that failed permanently at this step. */
    excludedProviders: p.array().columnType('text[]').defaultRaw(`'{}'`),
    /** Number of claims since the row was last settled. A high number means that its delivery crashes the process. */
    claims: p.smallint().default(0),
    /** First due time: `send_at`, or the time of acceptance. The retry deadline counts from here. */
    scheduledAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    dueAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    leaseToken: p.uuid().nullable(),
    /** The dispatcher that holds the lease or held the last one; see `dispatcher_instance`. */
    leaseOwner: p.uuid().nullable(),
    /** Number of the first attempt with an unknown outcome; null if there is none. */
    unknownSince: p.integer().nullable(),
    /** True if the address or the variables were removed or masked. The notification cannot be replayed. */
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
  indexes: [
    {
      name: 'notification_log_due',
      properties: ['tenantId', 'priority', 'dueAt'],
      where: OPEN,
    },
    { name: 'notification_log_owner', properties: ['leaseOwner'], where: `status = 'sending'` },
    { name: 'notification_log_newest', properties: ['tenantId', 'id'] },
    {
      name: 'notification_log_collapse',
      properties: ['tenantId', 'collapseKey', 'id'],
      where: 'collapse_key is not null',
    },
    // Filters of the list. Those of finished records are written once, when the delivery ends.
    {
      name: 'notification_log_code',
      properties: ['tenantId', 'eventCode', 'isTest', 'id'],
      columns: [{ name: 'tenantId' }, { name: 'eventCode', collation: 'C' }, { name: 'isTest' }, { name: 'id' }],
    },
    {
      name: 'notification_log_code_ended',
      properties: ['tenantId', 'eventCode', 'channel', 'status', 'isTest', 'id'],
      where: ENDED,
    },
    { name: 'notification_log_ended', properties: ['tenantId', 'status', 'channel', 'isTest', 'id'], where: ENDED },
    { name: 'notification_log_open', properties: ['tenantId', 'status', 'isTest', 'id'], where: OPEN },
    { name: 'notification_log_test', properties: ['tenantId', 'id'], where: 'is_test' },
  ],
  ...tenantIsolation('notification_log'),
});

/** One attempt to send a notification through a provider. Inserted before the call and settled after it. */
export const DeliveryAttemptEntity = defineEntity({
  name: 'DeliveryAttemptEntity',
  tableName: 'delivery_attempt',
  properties: {
    /** No foreign key: the table is partitioned like `notification_log`, and both partitions of a month are dropped together. */
    logId: p.uuid().primary(),
    number: p.integer().primary(),
    tenantId: p.text(),
    channel: p.text(),
    provider: p.text(),
    startedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    durationMs: p.integer().nullable(),
    /** `ok`, `transient`, `permanent`, or `unknown` after a crash; null while the call is in flight. */
    outcome: p.text().nullable(),
    providerMessageId: p.text().nullable(),
    errorCode: p.text().nullable(),
    errorMessage: p.text().nullable(),
    /** True if the provider removes repeats by the idempotency key. */
    deduplicates: p.boolean().default(false),
  },
  checks: [
    {
      name: 'delivery_attempt_outcome',
      expression: oneOf('outcome', ['ok', 'transient', 'permanent', 'unknown']),
    },
  ],
  indexes: [
    {
      name: 'delivery_attempt_message',
      properties: ['tenantId', 'providerMessageId', 'logId'],
      where: 'provider_message_id is not null',
    },
  ],
  ...tenantIsolation('delivery_attempt'),
});

/** A hash by which records are found, see `search-key.ts`. Removed together with the personal data that it stands for. */
export const NotificationLogKeyEntity = defineEntity({
  name: 'NotificationLogKeyEntity',
  tableName: 'notification_log_key',
  properties: {
    tenantId: p.text().primary(),
    key: p.uuid().primary(),
    logId: p.uuid().primary(),
  },
  indexes: [{ name: 'notification_log_key_log', properties: ['logId'] }],
  ...tenantIsolation('notification_log_key'),
});

/**
 * An event that was accepted, and its record. It is kept for `IDEMPOTENCY_DAYS` and at least as long as its record, which
 * is in a partitioned table, where PostgreSQL cannot keep event ids unique.
 */
export const EventIdempotencyEntity = defineEntity({
  name: 'EventIdempotencyEntity',
  tableName: 'event_idempotency',
  properties: {
    tenantId: p.text().primary(),
    eventId: p.uuid().primary(),
    logId: p.uuid(),
  },
  indexes: [{ name: 'event_idempotency_age', properties: ['tenantId', 'logId'] }],
  ...tenantIsolation('event_idempotency'),
});
