import type { Channel } from '../../src/intake/channel.ts';
import type { Priority, Recipient } from '../../src/intake/command.ts';
import { checkRecipient } from '../../src/intake/recipient.ts';
import { checkVersion, type EventParser, EventRefused, unknownFields } from './event.ts';
import { checkedTime, eventValidator } from './validate.ts';

interface TriggeredV2 {
  event_id: string;
  tenant_id: string;
  event_code: string;
  recipient: Recipient;
  channels?: Channel[];
  params: Record<string, unknown>;
  trace_id: string;
  created_at: string;
  trigger_by?: string | null;
  version?: string | number;
  category?: string;
  priority?: Priority;
  send_at?: string;
  expires_at?: string;
  collapse_key?: string;
}

const KNOWN = new Set([
  'event_id',
  'tenant_id',
  'event_code',
  'recipient',
  'channels',
  'params',
  'trace_id',
  'created_at',
  'trigger_by',
  'version',
  'category',
  'priority',
  'send_at',
  'expires_at',
  'collapse_key',
]);

/** Parses events with several addresses of one recipient and an optional order of channels. */
export function triggeredV2(type: string): EventParser {
  const validate = eventValidator<TriggeredV2>(type);
  return ({ payload, traceparent }) => {
    const event = validate(payload);
    checkVersion(event.version, 2);
    const problems = checkRecipient(event.recipient, (field) => `recipient.${field}`);
    if (problems.length > 0) throw new EventRefused('validation_failed', problems);
    const extra = unknownFields(event, KNOWN);
    return {
      kind: 'command',
      command: {
        tenantId: event.tenant_id,
        eventId: event.event_id,
        eventType: type,
        eventCode: event.event_code,
        isTest: false,
        channels: event.channels ?? [],
        recipient: event.recipient,
        params: event.params,
        priority: event.priority ?? 'normal',
        traceId: event.trace_id,
        createdAt: checkedTime(event.created_at),
        ...(traceparent === undefined ? {} : { traceparent }),
        ...(event.trigger_by ? { triggerBy: event.trigger_by } : {}),
        ...(event.category === undefined ? {} : { category: event.category }),
        ...(event.send_at === undefined ? {} : { sendAt: checkedTime(event.send_at) }),
        ...(event.expires_at === undefined ? {} : { expiresAt: checkedTime(event.expires_at) }),
        ...(event.collapse_key === undefined ? {} : { collapseKey: event.collapse_key }),
        ...(extra ? { extra } : {}),
      },
    };
  };
}
