import { registerEnumType } from 'type-graphql';

import { type Dimension, DIMENSIONS } from '../../src/delivery/statistics.ts';
import { DELIVERY_MODES } from '../../src/delivery/mode.ts';
import { LOG_STATUSES, type LogStatus } from '../../src/delivery/status.ts';
import { CHANNELS, type Channel } from '../../src/intake/channel.ts';
import { POLICY_SCOPES, type PolicyScope as Scope } from '../../src/inbox/policies.ts';
import { PRIORITIES } from '../../src/intake/command.ts';
import { type Transport, TRANSPORTS } from '../../src/live/clients.ts';
import { SUPPRESSION_REASONS } from '../../src/preferences/suppressions.ts';

const mirror = <T extends string>(values: readonly T[]): Record<T, T> =>
  Object.fromEntries(values.map((value) => [value, value])) as Record<T, T>;

const described = <T extends string>(descriptions: Record<T, string>): Record<T, { description: string }> =>
  Object.fromEntries(
    Object.entries<string>(descriptions).map(([value, description]) => [value, { description }]),
  ) as Record<T, { description: string }>;

export const NotificationChannel = mirror(CHANNELS);
registerEnumType(NotificationChannel, {
  name: 'NotificationChannel',
  description: 'A way to reach somebody.',
  valuesConfig: described<Channel>({
    email: 'Email.',
    sms: 'Text message.',
    push: 'Push notification to a device.',
    in_app: 'The inbox of this service.',
    webhook: 'HTTP call to the recipient.',
    zalo: 'Zalo Notification Service.',
  }),
});

export const NotificationStatus = mirror(LOG_STATUSES);
registerEnumType(NotificationStatus, {
  name: 'NotificationStatus',
  description: 'Where a notification stands on its way.',
  valuesConfig: described<LogStatus>({
    queued: 'Accepted; waits for its turn.',
    sending: 'In the hands of a process.',
    retrying: 'Failed for now; will be tried again.',
    sent: 'Handed over to the provider, or put into the inbox.',
    sent_fallback: 'Sent through another channel than the first.',
    failed: 'Not sent, and will not be: errorCode says why.',
    suppressed: 'Not sent on purpose: errorCode says why.',
    expired: 'Not sent in time.',
  }),
});

export const AttemptOutcome = mirror(['ok', 'transient', 'permanent', 'unknown'] as const);
registerEnumType(AttemptOutcome, {
  name: 'AttemptOutcome',
  description: 'How a try to send ended.',
  valuesConfig: described({
    ok: 'The provider took it.',
    transient: 'Failed in a way that may pass.',
    permanent: 'Failed in a way that will not pass.',
    unknown: 'Handed over, and nobody knows whether it was taken: no answer came, or the process died.',
  }),
});

export const RecipientScope = mirror(['users', 'merchant', 'organization'] as const);
registerEnumType(RecipientScope, {
  name: 'RecipientScope',
  description: 'Whom a notification was for.',
  valuesConfig: described({
    users: 'Named users.',
    merchant: 'Whoever holds a role over a merchant.',
    organization: 'Whoever holds a role over an organization.',
  }),
});

export const NotificationPriority = mirror(PRIORITIES);
registerEnumType(NotificationPriority, {
  name: 'NotificationPriority',
  description: 'How urgent a notification is within its tenant.',
  valuesConfig: described({
    high: 'Before everything else, and in quiet hours too.',
    normal: 'In its turn.',
    low: 'After everything else.',
  }),
});

export const DeliveryMode = mirror(DELIVERY_MODES);
registerEnumType(DeliveryMode, {
  name: 'DeliveryMode',
  description: 'What is done with notifications that are due.',
  valuesConfig: described({
    live: 'They are sent.',
    sandbox: 'They are captured, and nothing leaves.',
    hold: 'They stay queued, to go on later.',
  }),
});

export const CircuitState = mirror(['closed', 'open', 'half_open'] as const);
registerEnumType(CircuitState, {
  name: 'CircuitState',
  description: 'Whether a provider is in use.',
  valuesConfig: described({
    closed: 'It is in use.',
    open: 'It failed too often in a row and is left alone for a while.',
    half_open: 'One message is trying whether it has recovered.',
  }),
});

export const ConfigOrigin = mirror(['database', 'file', 'environment'] as const);
registerEnumType(ConfigOrigin, {
  name: 'ConfigOrigin',
  description: 'Where a setting comes from; the strongest is first.',
  valuesConfig: described({
    database: 'An admin of the tenant.',
    file: "The operator's file for the tenant.",
    environment: "The operator's environment.",
  }),
});

export const SuppressionReason = mirror(SUPPRESSION_REASONS);
registerEnumType(SuppressionReason, {
  name: 'SuppressionReason',
  description: 'Why an address is not used any more.',
  valuesConfig: described({
    hard_bounce: 'It does not exist.',
    complaint: 'Its owner complained, or answered STOP.',
    unsubscribed: 'Its owner unsubscribed.',
    manual: 'An admin added it.',
  }),
});

export const InboxChangeKind = mirror(['created', 'read', 'unread', 'archived'] as const);
registerEnumType(InboxChangeKind, {
  name: 'InboxChangeKind',
  description: 'What happened to a notification last.',
  valuesConfig: described({
    created: 'It came in.',
    read: 'It was read.',
    unread: 'It was marked as unread again.',
    archived: 'It was put away.',
  }),
});

export const StatisticsDimension = mirror(DIMENSIONS);
registerEnumType(StatisticsDimension, {
  name: 'StatisticsDimension',
  description: 'What statistics tell apart.',
  valuesConfig: described<Dimension>({
    channel: 'The channel.',
    status: 'Where they stand.',
    event_code: 'The event code.',
    template: 'The template.',
    hour: 'The hour (UTC) in which they were accepted.',
    day: 'The day (UTC) in which they were accepted.',
  }),
});

export const ClientTransport = mirror(TRANSPORTS);
registerEnumType(ClientTransport, {
  name: 'ClientTransport',
  description: 'How a client is connected.',
  valuesConfig: described<Transport>({
    websocket: 'graphql-transport-ws.',
    stream: 'graphql-transport-ws inside the encrypted connection.',
    sse: 'Server-sent events.',
    callback: 'A gateway that is called back over HTTP.',
  }),
});

export const PolicyScope = mirror(POLICY_SCOPES);
registerEnumType(PolicyScope, {
  name: 'PolicyScope',
  description: 'Over what somebody holds a role.',
  valuesConfig: described<Scope>({
    merchant: 'A merchant.',
    organization: 'An organization.',
  }),
});
