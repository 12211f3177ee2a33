import type { Channel } from '../../src/intake/channel.ts';
import { checkRecipient, recipientOf } from '../../src/intake/recipient.ts';
import { checkVersion, type EventParser, EventRefused, unknownFields } from './event.ts';
import { checkedTime, eventValidator } from './validate.ts';

interface TriggeredV1 {
  event_id: string;
  tenant_id: string;
  event_code: string;
  channel: Channel;
  recipient: string;
  params: Record<string, unknown>;
  trace_id: string;
  created_at: string;
  trigger_by?: string | null;
  version?: string | number;
}

const KNOWN = new Set([
  'event_id',
  'tenant_id',
  'event_code',
  'channel',
  'recipient',
  'params',
  'trace_id',
  'created_at',
  'trigger_by',
  'version',
]);

/** Parses events with one channel and one recipient. `isTest` is true for `notification.test.v1`. */
export function triggeredV1(type: string, { isTest }: { isTest: boolean }): EventParser {
  const validate = eventValidator<TriggeredV1>(type);
  return ({ payload, traceparent }) => {
    const event = validate(payload);
    checkVersion(event.version, 1);
    const recipient = recipientOf(event.channel, event.recipient);
    const problems = checkRecipient(recipient, () => 'recipient');
    if (problems.length > 0) throw new EventRefused('validation_failed', problems);
    const extra = unknownFields(event, KNOWN);
    return {
      kind: 'command',
      command: {
        tenantId: event.tenant_id,
        eventId: event.event_id,
        eventType: type,
        eventCode: event.event_code,
        isTest,
        channels: [event.channel],
        recipient,
        params: event.params,
        priority: 'normal',
        traceId: event.trace_id,
        createdAt: checkedTime(event.created_at),
        ...(traceparent === undefined ? {} : { traceparent }),
        ...(event.trigger_by ? { triggerBy: event.trigger_by } : {}),
        ...(extra ? { extra } : {}),
      },
    };
  };
}
