import type { Channel } from './channel.ts';

/** Addresses of one person, as far as the producer knows them. Stored as it stands, in the event's own spelling. */
export interface Recipient {
  user_id?: string;
  email?: string;
  phone?: string;
  device_token?: string;
  webhook_url?: string;
  /** BCP 47; absent: the tenant's default. */
  locale?: string;
}

/** Whom an in-app notification is for: named users, or whoever holds a role over a merchant or organization. */
export type Audience =
  | { scope: 'users'; userIds: string[] }
  | { scope: 'merchant'; scopeId: string }
  | { scope: 'organization'; scopeId: string };

/** Text that the producer wrote itself, so that no template is looked up. */
export interface Content {
  type: string;
  title: string;
  body: string;
  data?: Record<string, unknown>;
  actionUrl?: string;
  actorId?: string;
}

export const PRIORITIES = ['high', 'normal', 'low'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** What every event type and version parses into: the one thing that intake knows. */
export interface NotificationCommand {
  tenantId: string;
  /** Unique with `tenantId`: however often it arrives, one delivery record exists. */
  eventId: string;
  eventType: string;
  eventCode: string;
  isTest: boolean;
  /** Channels to try, in order; empty: the tenant's policy decides. */
  channels: Channel[];
  recipient: Recipient;
  audience?: Audience;
  content?: Content;
  params: Record<string, unknown>;
  category?: string;
  priority: Priority;
  sendAt?: Date;
  expiresAt?: Date;
  collapseKey?: string;
  traceId: string;
  traceparent?: string;
  triggerBy?: string;
  createdAt: Date;
  /** Fields of the event that this version does not know. */
  extra?: Record<string, unknown>;
}
