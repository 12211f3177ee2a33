import { registerEnumType } from 'type-graphql';

import { LOG_STATUSES, type LogStatus } from '../src/delivery/status.ts';
import { CHANNELS, type Channel } from '../src/intake/channel.ts';

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
    unknown: 'The process died between handing over and recording.',
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
