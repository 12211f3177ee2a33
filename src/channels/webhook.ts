import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';

import type { CreateProvider, OutboundMessage } from './channel.ts';
import { failureOf, isFailure, isSuccess } from './http-client.ts';
import { configReader } from './provider-config.ts';

/** Signing keys of a tenant's webhooks. */
export interface WebhookConfig {
  /** Secrets `whsec_…`, newest first. During a rotation the receiver may know the old or the new one. */
  secrets: string[];
}

const configSchema = {
  type: 'object',
  required: ['secrets'],
  additionalProperties: false,
  properties: {
    secrets: {
      description: 'Signing secrets (whsec_…), newest first. Use several during a rotation.',
      type: 'array',
      writeOnly: true,
      minItems: 1,
      maxItems: 5,
      items: { type: 'string', pattern: '^whsec_[A-Za-z0-9+/]{32,}={0,2}$' },
    },
  },
};

/**
 * Webhooks signed according to Standard Webhooks (standardwebhooks.com): id, timestamp and signatures are in headers.
 */
export const webhookProvider: CreateProvider = ({ readSecret, http }) => {
  const configs = configReader<WebhookConfig>('Webhook', configSchema, readSecret);
  /** Cached for each configuration, because creating a key takes as long as signing with it. */
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
    // Standard Webhooks: receivers ignore a `webhook-id` that they have already processed.
    deduplicates: true,
    configSchema,
    beginsItself: true,
    // The URL comes from the event, so it is not trusted even when the operator configured the keys.
    send: async (message, rawConfig, { timeoutMs, begin }) => {
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
        { timeoutMs, isTrusted: false, begin },
      );
      if (isFailure(reply)) return reply;
      if (isSuccess(reply)) return { outcome: 'ok' };
      // 410 Gone: the receiver asks not to be called again.
      if (reply.status === 410) return { ...failureOf(reply), blames: 'recipient', suppress: 'hard_bounce' };
      const failure = failureOf(reply);
      // The provider is the recipient here, so another provider cannot help.
      return failure.outcome === 'permanent' ? { ...failure, blames: 'recipient' } : failure;
    },
    close: async () => {},
  };
};

/** Embeds the rendered template as JSON; as `{"text": …}` when it is not JSON. */
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

/** Start of every JSON text. Avoids a costly exception from `JSON.parse` for other text. */
const JSON_START = /^[ \t\n\r]*[{["\-\dtfn]/;

const sign = (key: KeyObject, content: string): string =>
  `v1,${createHmac('sha256', key).update(content).digest('base64')}`;
