import { registerEnumType } from 'type-graphql';

import { type Dimension, DIMENSIONS } from '../../src/delivery/statistics.ts';
import { DELIVERY_MODES, MODE_OWNERS } from '../../src/delivery/mode.ts';
import { LOG_STATUSES, type LogStatus } from '../../src/delivery/status.ts';
import { CHANNELS, type Channel } from '../../src/intake/channel.ts';
import { POLICY_SCOPES, type PolicyScope as Scope } from '../../src/inbox/policy-definition.entity.ts';
import { PRIORITIES } from '../../src/intake/command.ts';
import { type Transport, TRANSPORTS } from '../../src/live/clients.ts';
import { SUPPRESSION_REASONS } from '../../src/preferences/suppression.entity.ts';
import { SMS_ENCODINGS } from '../../src/templates/sms-size.ts';

/** GraphQL names are UPPER_CASE; events, the database and metrics keep the lower-case codes. */
const named = <T extends string>(codes: readonly T[]): Record<Uppercase<T>, T> =>
  Object.fromEntries(codes.map((code) => [code.toUpperCase(), code])) as Record<Uppercase<T>, T>;

const described = <T extends string>(descriptions: Record<T, string>): Record<Uppercase<T>, { description: string }> =>
  Object.fromEntries(
    Object.entries<string>(descriptions).map(([code, description]) => [code.toUpperCase(), { description }]),
  ) as Record<Uppercase<T>, { description: string }>;

export const NotificationChannel = named(CHANNELS);
registerEnumType(NotificationChannel, {
  name: 'NotificationChannel',
  description: 'Channel through which a notification is delivered.',
  valuesConfig: described<Channel>({
    email: 'Email.',
    sms: 'SMS text message.',
    push: 'Push notification to a device.',
    in_app: 'Notification in the inbox of this service.',
    webhook: 'HTTP request to a URL of the recipient.',
    zalo: 'Zalo Notification Service.',
  }),
});

export const NotificationStatus = named(LOG_STATUSES);
registerEnumType(NotificationStatus, {
  name: 'NotificationStatus',
  description: 'Delivery status of a notification.',
  valuesConfig: described<LogStatus>({
    queued: 'The notification is accepted and waits in the queue.',
    sending: 'A process is sending the notification.',
    retrying: 'An attempt failed, and the service will try again.',
    sent: 'The provider accepted the notification, or it was added to the inbox.',
    sent_fallback: 'The notification was sent through a fallback channel.',
    failed: 'The notification could not be sent. `errorCode` gives the reason.',
    suppressed: 'The service did not send the notification on purpose. `errorCode` gives the reason.',
    expired: 'The notification expired before it was sent.',
  }),
});

export const AttemptOutcome = named(['ok', 'transient', 'permanent', 'unknown'] as const);
registerEnumType(AttemptOutcome, {
  name: 'AttemptOutcome',
  description: 'Outcome of an attempt to send a notification.',
  valuesConfig: described({
    ok: 'The provider accepted the message.',
    transient: 'The attempt failed with an error that may be temporary.',
    permanent: 'The attempt failed with an error that a retry cannot solve.',
    unknown:
      'It is not known whether the provider accepted the message, because no response arrived or the process crashed.',
  }),
});

export const RecipientScope = named(['users', 'merchant', 'organization'] as const);
registerEnumType(RecipientScope, {
  name: 'RecipientScope',
  description: 'Kind of audience of a notification.',
  valuesConfig: described({
    users: 'Users that the event names.',
    merchant: 'Users who have a role in a merchant.',
    organization: 'Users who have a role in an organization.',
  }),
});

export const NotificationPriority = named(PRIORITIES);
registerEnumType(NotificationPriority, {
  name: 'NotificationPriority',
  description: 'Priority of a notification within its tenant.',
  valuesConfig: described({
    high: 'The notification is sent before all others, even in quiet hours.',
    normal: 'The notification is sent in the order of the queue.',
    low: 'The notification is sent after all others.',
  }),
});

export const DeliveryMode = named(DELIVERY_MODES);
registerEnumType(DeliveryMode, {
  name: 'DeliveryMode',
  description: 'How the service handles notifications that are due.',
  valuesConfig: described({
    live: 'Notifications are sent.',
    sandbox: 'Notifications are captured and not sent.',
    hold: 'Notifications stay in the queue until the mode changes.',
  }),
});

export const DeliveryModeOwner = named(MODE_OWNERS);
registerEnumType(DeliveryModeOwner, {
  name: 'DeliveryModeOwner',
  description: 'Level at which a delivery mode is set.',
  valuesConfig: described({
    process: 'The server process, configured by its operator.',
    tenant: 'The tenant, configured by its admins.',
  }),
});

export const CircuitState = named(['closed', 'open', 'half_open'] as const);
registerEnumType(CircuitState, {
  name: 'CircuitState',
  description: 'State of the circuit breaker of a provider.',
  valuesConfig: described({
    closed: 'The provider is used.',
    open: 'The provider failed too often in a row and is not used for a while.',
    half_open: 'One message tests whether the provider has recovered.',
  }),
});

export const ConfigOrigin = named(['database', 'file', 'environment'] as const);
registerEnumType(ConfigOrigin, {
  name: 'ConfigOrigin',
  description: 'Origin of a setting, in order of precedence.',
  valuesConfig: described({
    database: 'An admin of the tenant set it.',
    file: "It is set in the operator's file for the tenant.",
    environment: "It is set in the operator's environment variables.",
  }),
});

export const SuppressionReason = named(SUPPRESSION_REASONS);
registerEnumType(SuppressionReason, {
  name: 'SuppressionReason',
  description: 'Reason why the service does not send to an address.',
  valuesConfig: described({
    hard_bounce: 'The address does not exist.',
    complaint: 'The owner of the address complained, or replied STOP.',
    unsubscribed: 'The owner of the address unsubscribed.',
    manual: 'An admin added the address.',
  }),
});

export const InboxChangeKind = named(['created', 'read', 'unread', 'archived'] as const);
registerEnumType(InboxChangeKind, {
  name: 'InboxChangeKind',
  description: 'The most recent change of a notification.',
  valuesConfig: described({
    created: 'The notification was created.',
    read: 'The notification was marked as read.',
    unread: 'The notification was marked as unread.',
    archived: 'The notification was archived.',
  }),
});

export const SmsEncoding = named(SMS_ENCODINGS);
registerEnumType(SmsEncoding, {
  name: 'SmsEncoding',
  description: 'Encoding of an SMS.',
  valuesConfig: described({
    gsm_7: 'GSM 7-bit alphabet: up to 160 characters, or 153 in each of several segments.',
    ucs_2: 'UTF-16, for texts with other characters: up to 70 units, or 67 in each of several segments.',
  }),
});

export const StatisticsDimension = named(DIMENSIONS);
registerEnumType(StatisticsDimension, {
  name: 'StatisticsDimension',
  description: 'Dimension by which statistics are grouped.',
  valuesConfig: described<Dimension>({
    channel: 'Group by channel.',
    status: 'Group by delivery status.',
    event_code: 'Group by event code.',
    template: 'Group by template.',
    hour: 'Group by the hour (UTC) in which the events were accepted.',
    day: 'Group by the day (UTC) in which the events were accepted.',
  }),
});

export const ClientTransport = named(TRANSPORTS);
registerEnumType(ClientTransport, {
  name: 'ClientTransport',
  description: 'Transport of a subscription connection.',
  valuesConfig: described<Transport>({
    websocket: 'WebSocket with the graphql-transport-ws protocol.',
    stream: 'WebSocket with the graphql-transport-ws protocol inside end-to-end encrypted frames.',
    sse: 'Server-sent events.',
    callback: 'HTTP callbacks to a gateway.',
  }),
});

export const PolicyScope = named(POLICY_SCOPES);
registerEnumType(PolicyScope, {
  name: 'PolicyScope',
  description: 'Kind of entity in which a user has a role.',
  valuesConfig: described<Scope>({
    merchant: 'The role applies to a merchant.',
    organization: 'The role applies to an organization.',
  }),
});
