import type { Channel } from './channel.ts';

/** User id and addresses of one person, as far as the producer knows them. Stored with the field names of the event. */
export interface Recipient {
  user_id?: string;
  email?: string;
  phone?: string;
  device_token?: string;
  webhook_url?: string;
  /** BCP 47 tag. Default: the tenant's locale. */
  locale?: string;
}

/** Audience of an in-app notification: named users, or all users with a role over a merchant or organization. */
export type Audience =
  | { scope: 'users'; userIds: string[] }
  | { scope: 'merchant'; scopeId: string }
  | { scope: 'organization'; scopeId: string };

/** Text written by the producer. It replaces the template. */
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

/** Input of intake. Every event type and version is parsed into it. */
export interface NotificationCommand {
  tenantId: string;
  /** Unique per tenant. An event that arrives again creates no second delivery record. */
  eventId: string;
  eventType: string;
  eventCode: string;
  isTest: boolean;
  /** Channels to try, in order. When empty, the tenant's policy decides. */
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
  /** Fields of the event that this version does not define. */
  extra?: Record<string, unknown>;
}
