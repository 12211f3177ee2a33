import { derivedId, isUuid } from '../../src/ids.ts';
import type { Audience, Content } from '../../src/intake/command.ts';
import { type EventParser, unknownFields } from './event.ts';
import { checkedTime, eventValidator } from './validate.ts';

interface ActivityNotification {
  id?: string;
  tenant_id: string;
  type: string;
  title: string;
  body: string;
  data?: Record<string, unknown> | null;
  action_url?: string | null;
  category?: string | null;
  actor_id?: string | null;
  recipient_scope: 'users' | 'merchant' | 'organization';
  recipient_ids?: string[];
  merchant_id?: string | null;
  organization_id?: string | null;
  created_at: string;
  trace_id?: string;
}

const KNOWN = [
  'id',
  'tenant_id',
  'type',
  'title',
  'body',
  'data',
  'action_url',
  'category',
  'actor_id',
  'recipient_scope',
  'recipient_ids',
  'merchant_id',
  'organization_id',
  'created_at',
  'trace_id',
];

const camelCase = (name: string): string =>
  name.replaceAll(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase());

const SPELLINGS = new Map(KNOWN.map((name) => [camelCase(name), name]));

/** Parses in-app notifications whose text is part of the event. */
export function activityNotification(type: string): EventParser {
  const validate = eventValidator<ActivityNotification>(type);
  return ({ payload, traceparent, position }) => {
    const event = validate(withSnakeCase(payload));
    const extra = unknownFields(event, new Set(KNOWN));
    const eventId = eventIdOf(event, position);
    return {
      kind: 'command',
      command: {
        tenantId: event.tenant_id,
        eventId,
        eventType: type,
        eventCode: event.type,
        isTest: false,
        channels: ['in_app'],
        recipient: {},
        audience: audienceOf(event),
        content: contentOf(event),
        params: {},
        priority: 'normal',
        traceId: event.trace_id ?? eventId,
        createdAt: checkedTime(event.created_at),
        ...(traceparent === undefined ? {} : { traceparent }),
        ...(event.actor_id ? { triggerBy: event.actor_id } : {}),
        ...(event.category ? { category: event.category } : {}),
        ...(extra ? { extra } : {}),
      },
    };
  };
}

function withSnakeCase(payload: unknown): unknown {
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return payload;
  return Object.fromEntries(Object.entries(payload).map(([key, value]) => [SPELLINGS.get(key) ?? key, value]));
}

function eventIdOf(event: ActivityNotification, position: readonly (string | number)[]): string {
  if (event.id === undefined) return derivedId(...position);
  return isUuid(event.id) ? event.id : derivedId('activity', event.id);
}

function audienceOf(event: ActivityNotification): Audience {
  switch (event.recipient_scope) {
    case 'users':
      return { scope: 'users', userIds: [...new Set(event.recipient_ids)] };
    case 'merchant':
      return { scope: 'merchant', scopeId: event.merchant_id as string };
    case 'organization':
      return { scope: 'organization', scopeId: event.organization_id as string };
  }
}

function contentOf(event: ActivityNotification): Content {
  return {
    type: event.type,
    title: event.title,
    body: event.body,
    ...(event.data ? { data: event.data } : {}),
    ...(event.action_url ? { actionUrl: event.action_url } : {}),
    ...(event.actor_id ? { actorId: event.actor_id } : {}),
  };
}
