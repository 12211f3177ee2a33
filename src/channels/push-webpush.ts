import { createHash } from 'node:crypto';

import webPush from 'web-push';

import type { CreateProvider, OutboundMessage } from './channel.ts';
import type { SendFailure } from './send-result.ts';
import { failureOf, isFailure, isSuccess } from './http-client.ts';
import { configReader, misconfigured } from './provider-config.ts';

/** VAPID keys of an application server (RFC 8292) in base64url, as printed by `web-push generate-vapid-keys`. */
export interface WebPushConfig {
  publicKey: string;
  privateKey: string;
  /** Contact of the operator for push services: a `mailto:` or `https:` URL. */
  subject: string;
}

const configSchema = {
  type: 'object',
  required: ['publicKey', 'privateKey', 'subject'],
  additionalProperties: false,
  properties: {
    publicKey: { type: 'string', pattern: '^[A-Za-z0-9_-]{87}$', description: 'Public VAPID key, base64url.' },
    privateKey: {
      type: 'string',
      pattern: '^[A-Za-z0-9_-]{43}$',
      writeOnly: true,
      description: 'Private VAPID key, base64url.',
    },
    subject: {
      type: 'string',
      pattern: '^(mailto:|https://)',
      description: 'Contact for push services: a mailto: or https: URL.',
    },
  },
};

/** Time for which a push service keeps a message for an offline device, in seconds. */
const DEFAULT_TTL_S = 24 * 3_600;
const URGENCY = { high: 'high', normal: 'normal', low: 'low' } as const;

/**
 * Push to browsers (RFC 8030), encrypted for the device (RFC 8291). The device token is the browser's
 * `PushSubscription` as JSON, or the same in base64url.
 */
export const webPushProvider: CreateProvider = ({ readSecret, http }) => {
  const configs = configReader<WebPushConfig>('Web Push', configSchema, readSecret);
  return {
    channel: 'push',
    name: 'web_push',
    configSchema,
    beginsItself: true,
    // The endpoint comes from the recipient's browser, so it is not trusted even when the operator configured the keys.
    send: async (message, rawConfig, { timeoutMs, begin }) => {
      const config = await configs.read(rawConfig);
      if ('outcome' in config) return config;
      const subscription = subscriptionIn(message.address);
      if (!subscription) return OTHER_KIND;
      let request;
      try {
        request = webPush.generateRequestDetails(subscription, payloadOf(message), {
          vapidDetails: config,
          TTL: ttlOf(message),
          urgency: URGENCY[message.priority],
          ...(message.collapseKey !== undefined && { topic: topicOf(message.collapseKey) }),
        });
      } catch {
        return misconfigured('Web Push: the VAPID keys or the keys of the subscription are invalid');
      }
      const headers = Object.fromEntries(
        Object.entries(request.headers)
          .filter(([name]) => name !== 'Content-Length') // the client sets it
          .map(([name, value]) => [name, String(value)]),
      );
      const reply = await http.send(
        request.endpoint,
        { headers, ...(request.body && { body: request.body }) },
        { timeoutMs, isTrusted: false, begin },
      );
      if (isFailure(reply)) return reply;
      if (isSuccess(reply)) {
        const { location } = reply.headers;
        return { outcome: 'ok', ...(typeof location === 'string' && { providerMessageId: location.slice(0, 200) }) };
      }
      if (reply.status === 404 || reply.status === 410) {
        return { ...failureOf(reply), outcome: 'permanent', blames: 'recipient', suppress: 'hard_bounce' };
      }
      return failureOf(reply);
    },
    close: async () => {},
  };
};

/** Blames the provider, so that the next provider of the channel is tried. */
const OTHER_KIND: SendFailure = {
  outcome: 'permanent',
  blames: 'provider',
  errorCode: 'address_unsupported',
  errorMessage: 'The device token is not a Web Push subscription.',
};

function subscriptionIn(token: string): webPush.PushSubscription | undefined {
  const text = token.startsWith('{') ? token : Buffer.from(token, 'base64url').toString();
  try {
    const { endpoint, keys } = JSON.parse(text) as { endpoint?: unknown; keys?: Record<string, unknown> };
    const { p256dh, auth } = keys ?? {};
    if (typeof endpoint !== 'string' || typeof p256dh !== 'string' || typeof auth !== 'string') return undefined;
    return { endpoint, keys: { p256dh, auth } };
  } catch {
    return undefined;
  }
}

const payloadOf = ({ content, idempotencyKey, eventCode }: OutboundMessage): string =>
  JSON.stringify({ id: idempotencyKey, type: eventCode, title: content.subject ?? '', body: content.text });

const ttlOf = ({ expiresAt }: OutboundMessage): number =>
  expiresAt ? Math.max(0, Math.floor((expiresAt.getTime() - Date.now()) / 1_000)) : DEFAULT_TTL_S;

/** At most 32 characters of base64url (RFC 8030, 5.4). */
const topicOf = (collapseKey: string): string =>
  createHash('sha256').update(collapseKey).digest('base64url').slice(0, 32);
