import type { CreateProvider } from './channel.ts';
import type { SendFailure, SendResult } from './send-result.ts';
import { failureOf, type HttpReply, isFailure, isSuccess, jsonOf, malformedReply } from './http-client.ts';
import { configReader } from './provider-config.ts';

/** A Zalo Official Account. */
export interface ZnsConfig {
  accessToken: string;
  /** Default: `https://business.openapi.zalo.me`. */
  baseUrl?: string;
}

const configSchema = {
  type: 'object',
  required: ['accessToken'],
  additionalProperties: false,
  properties: {
    accessToken: {
      type: 'string',
      pattern: '^[\\x21-\\x7e]+$',
      writeOnly: true,
      description: 'Access token of the Official Account.',
    },
    baseUrl: {
      type: 'string',
      pattern: '^https?://',
      description: 'Base URL of an API that is compatible with ZNS. Default: Zalo’s API.',
    },
  },
};

/** ZNS error codes (developers.zalo.me, ZNS error codes). Every other code blames the message. */
const CODES: Record<string, Pick<SendFailure, 'outcome' | 'blames' | 'suppress'>> = {
  '-100': { outcome: 'transient', blames: 'provider' },
  '-101': { outcome: 'permanent', blames: 'provider' },
  '-104': { outcome: 'permanent', blames: 'provider' },
  '-106': { outcome: 'permanent', blames: 'provider' },
  '-108': { outcome: 'permanent', blames: 'recipient', suppress: 'hard_bounce' },
  '-114': { outcome: 'permanent', blames: 'recipient' },
  '-115': { outcome: 'transient', blames: 'provider' },
  '-117': { outcome: 'permanent', blames: 'provider' },
  '-118': { outcome: 'permanent', blames: 'recipient', suppress: 'hard_bounce' },
  '-119': { outcome: 'permanent', blames: 'recipient' },
  '-124': { outcome: 'permanent', blames: 'provider' },
  '-126': { outcome: 'transient', blames: 'provider' },
  '-139': { outcome: 'permanent', blames: 'recipient', suppress: 'complaint' },
  '-140': { outcome: 'permanent', blames: 'recipient' },
  '-144': { outcome: 'transient', blames: 'provider' },
};

/**
 * Messages through Zalo Notification Service. Zalo stores the approved texts, so the tenant's template renders to JSON
 * that refers to one of them: `{"template_id": "…", "template_data": {…}}`.
 */
export const znsProvider: CreateProvider = ({ readSecret, http }) => {
  const configs = configReader<ZnsConfig>('ZNS', configSchema, readSecret);
  return {
    channel: 'zalo',
    name: 'zns',
    configSchema,
    beginsItself: true,
    send: async (message, rawConfig, limits) => {
      const config = await configs.read(rawConfig);
      if ('outcome' in config) return config;
      const template = templateIn(message.content.text);
      if (!template) return NO_TEMPLATE;
      const reply = await http.send(
        `${(config.baseUrl ?? 'https://business.openapi.zalo.me').replace(/\/+$/, '')}/message/template`,
        {
          headers: { access_token: config.accessToken, 'content-type': 'application/json' },
          body: JSON.stringify({
            phone: message.address.replace(/^\+/, ''),
            ...template,
            tracking_id: message.idempotencyKey,
          }),
        },
        limits,
      );
      return isFailure(reply) ? reply : resultOf(reply);
    },
    close: async () => {},
  };
};

const NO_TEMPLATE: SendFailure = {
  outcome: 'permanent',
  blames: 'message',
  errorCode: 'zns_template_invalid',
  errorMessage: 'The template must render to JSON with template_id and template_data.',
};

function templateIn(text: string): { template_id: string; template_data: object } | undefined {
  try {
    const { template_id: id, template_data: data } = JSON.parse(text) as Record<string, unknown>;
    if ((typeof id !== 'string' && typeof id !== 'number') || typeof data !== 'object' || data === null)
      return undefined;
    return { template_id: String(id), template_data: data };
  } catch {
    return undefined;
  }
}

/** ZNS answers every request with status 200; the result is in `error`. */
function resultOf(reply: HttpReply): SendResult {
  if (!isSuccess(reply)) return failureOf(reply);
  const answer = jsonOf(reply);
  const error = answer?.['error'];
  if (typeof error !== 'number') return malformedReply();
  if (error === 0) {
    const id = (answer?.['data'] as { msg_id?: unknown } | undefined)?.msg_id;
    return { outcome: 'ok', ...(typeof id === 'string' && { providerMessageId: id.slice(0, 200) }) };
  }
  return {
    ...(CODES[String(error)] ?? { outcome: 'permanent', blames: 'message' }),
    errorCode: `zns_${Math.abs(error)}`,
    errorMessage: `ZNS answered with error ${error}.`,
  };
}
