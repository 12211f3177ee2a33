import { activityNotification } from './activity-notification.ts';
import { configUpdated } from './config-updated.ts';
import { type EventParser, EventRefused, type ParsedEvent, type RawEvent } from './event.ts';
import { feedbackV1 } from './feedback.v1.ts';
import { tokenRevoked } from './token-revoked.ts';
import { triggeredV1 } from './triggered.v1.ts';
import { triggeredV2 } from './triggered.v2.ts';

/** All supported event types. */
const PARSERS: Record<string, (type: string) => EventParser> = {
  'notification.triggered.v1': (type) => triggeredV1(type, { isTest: false }),
  'notification.triggered.v2': triggeredV2,
  'notification.test.v1': (type) => triggeredV1(type, { isTest: true }),
  'signal.activity-notification': activityNotification,
  'notification.feedback.v1': feedbackV1,
  'config.updated': configUpdated,
  'token.revoked': tokenRevoked,
};

export const EVENT_TYPES = Object.keys(PARSERS);

const parsers = new Map(Object.entries(PARSERS).map(([type, create]) => [type, create(type)]));

/** Returns whether the trace context is valid. An invalid one is ignored instead of rejecting the event. */
const hasTraceContext = ({ traceparent }: RawEvent): boolean =>
  traceparent !== undefined && /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(traceparent);

/**
 * Parses an event of any supported type.
 * @throws {EventRefused} with the reason for `rejected_event`.
 */
export function parseEvent(event: RawEvent): ParsedEvent {
  const parser = parsers.get(event.type);
  if (parser) return parser(hasTraceContext(event) ? event : { ...event, traceparent: undefined });
  const family = event.type.replace(/\.v\d+$/, '');
  const isOtherVersion = EVENT_TYPES.some((type) => type.replace(/\.v\d+$/, '') === family);
  throw isOtherVersion
    ? new EventRefused('unsupported_version', `${event.type.slice(0, 200)} is not a supported version`)
    : new EventRefused('unsupported_type', `${event.type.slice(0, 200)} is not an event type of this service`);
}
