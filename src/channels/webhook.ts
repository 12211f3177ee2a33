import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';

import type { CreateProvider, OutboundMessage } from './channel.ts';
import { failureOf, isFailure, isSuccess } from './http-client.ts';
import { configReader } from './provider-config.ts';

/** How a tenant's webhooks are signed. */
export interface WebhookConfig {
  /** `whsec_…`, newest first: while keys are rotated a receiver may know the old one or the new one. */
  secrets: string[];
}

const configSchema = {
  type: 'object',
  required: ['secrets'],
  additionalProperties: false,
  properties: {
    secrets: {
      description: 'What is signed with, newest first while they are rotated.',
      type: 'array',
      writeOnly: true,
      minItems: 1,
      maxItems: 5,
      items: { type: 'string', pattern: '^whsec_[A-Za-z0-9+/]{32,}={0,2}$' },
    },
  },
};

/** Webhooks as Standard Webhooks (standardwebhooks.com) has them: id, timestamp and signatures in headers. */
export const webhookProvider: CreateProvider = ({ readSecret, http }) => {
  const configs = configReader<WebhookConfig>('Webhook', configSchema, readSecret);
  /** By configuration, as long as that is in use: making a key takes as long as signing with it. */
  const keys = new WeakMap<WebhookConfig, KeyObject[]>();
  const keysOf = (config: WebhookConfig): KeyObject[] => {
    const known = keys.get(config);
    if (known) return known;
    const made = config.secrets.map((secret) => createSecretKey(secret.slice('whsec_'.length), 'base64'));
    keys.set(config, made);
    return made;
  };
  return {
    channel: 'webhook',
    name: 'webhook',
    configSchema,
    // The address comes with the event, so no operator vouches for it, whoever configured the keys.
    send: async (message, rawConfig, { timeoutMs }) => {
      const config = await configs.read(rawConfig);
      if ('outcome' in config) return config;
      const body = webhookBody(message);
      const timestamp = Math.floor(Date.now() / 1_000);
      const signed = `${message.idempotencyKey}.${timestamp}.${body}`;
      const reply = await http.send(
        message.address,
        {
          headers: {
            'content-type': 'application/json',
            'webhook-id': message.idempotencyKey,
            'webhook-timestamp': String(timestamp),
            'webhook-signature': keysOf(config)
              .map((key) => sign(key, signed))
              .join(' '),
          },
          body,
        },
        { timeoutMs, isTrusted: false },
      );
      if (isFailure(reply)) return reply;
      if (isSuccess(reply)) return { outcome: 'ok' };
      // The receiver says itself that it is gone for good.
      if (reply.status === 410) return { ...failureOf(reply), blames: 'recipient', suppress: 'hard_bounce' };
      const failure = failureOf(reply);
      // Here the provider is the recipient: nobody else can take the message for it.
      return failure.outcome === 'permanent' ? { ...failure, blames: 'recipient' } : failure;
    },
    close: async () => {},
  };
};

/** The rendered template as JSON, or as text where it is no JSON. */
function webhookBody({ eventCode, createdAt, content }: OutboundMessage): string {
  const envelope = `{"type":${JSON.stringify(eventCode)},"timestamp":${JSON.stringify(createdAt)},"data":`;
  const asText = (): string => `${envelope}${JSON.stringify({ text: content.text })}}`;
  if (!JSON_START.test(content.text)) return asText();
  try {
    JSON.parse(content.text);
    return `${envelope}${content.text}}`;
  } catch {
    return asText();
  }
}

/** How every JSON text begins: what begins otherwise need not fail to be known as none. */
const JSON_START = /^[ \t\n\r]*[{["\-\dtfn]/;

const sign = (key: KeyObject, content: string): string =>
  `v1,${createHmac('sha256', key).update(content).digest('base64')}`;
