import type { CreateProvider } from './channel.ts';
import type { SendFailure, SendResult } from './send-result.ts';
import { failureOf, type HttpReply, isFailure, isSuccess, jsonOf, malformedReply } from './http-client.ts';
import { configReader } from './provider-config.ts';

/** An account at Twilio or at a provider with a compatible API. */
export interface TwilioConfig {
  accountSid: string;
  authToken: string;
  /** Phone number or sender id. Either this or `messagingServiceSid` is required. */
  from?: string;
  messagingServiceSid?: string;
  /** Default: `https://api.twilio.com`. */
  baseUrl?: string;
}

const configSchema = {
  type: 'object',
  required: ['accountSid', 'authToken'],
  anyOf: [{ required: ['from'] }, { required: ['messagingServiceSid'] }],
  additionalProperties: false,
  properties: {
    accountSid: { type: 'string', pattern: '^[A-Za-z0-9]{2,64}$', description: 'SID of the account.' },
    authToken: { type: 'string', minLength: 1, writeOnly: true, description: 'Auth token of the account.' },
    from: { type: 'string', minLength: 1, maxLength: 32, description: 'Phone number or sender id of the messages.' },
    messagingServiceSid: {
      type: 'string',
      pattern: '^[A-Za-z0-9]{2,64}$',
      description: 'SID of a messaging service, used instead of `from`.',
    },
    baseUrl: {
      type: 'string',
      pattern: '^https?://',
      description: 'Base URL of an API that is compatible with Twilio. Default: Twilio’s API.',
    },
  },
};

/** Twilio error codes that are more specific than the HTTP status (twilio.com/docs/api/errors). */
const CODES: Record<number, Pick<SendFailure, 'outcome' | 'blames' | 'suppress'>> = {
  20003: { outcome: 'permanent', blames: 'provider' },
  20429: { outcome: 'transient', blames: 'provider' },
  21211: { outcome: 'permanent', blames: 'recipient', suppress: 'hard_bounce' },
  21408: { outcome: 'permanent', blames: 'provider' },
  21606: { outcome: 'permanent', blames: 'provider' },
  // The recipient answered STOP.
  21610: { outcome: 'permanent', blames: 'recipient', suppress: 'complaint' },
  21612: { outcome: 'permanent', blames: 'provider' },
  21614: { outcome: 'permanent', blames: 'recipient', suppress: 'hard_bounce' },
  21617: { outcome: 'permanent', blames: 'message' },
  30001: { outcome: 'transient', blames: 'provider' },
  30003: { outcome: 'transient', blames: 'recipient' },
};

/** SMS through Twilio's Messages resource. */
export const twilioProvider: CreateProvider = ({ readSecret, http }) => {
  const configs = configReader<TwilioConfig>('Twilio', configSchema, readSecret);
  return {
    channel: 'sms',
    name: 'twilio',
    configSchema,
    beginsItself: true,
    send: async (message, rawConfig, limits) => {
      const config = await configs.read(rawConfig);
      if ('outcome' in config) return config;
      const { accountSid, authToken, from, messagingServiceSid, baseUrl = 'https://api.twilio.com' } = config;
      const form = new URLSearchParams({
        To: message.address,
        Body: message.content.text,
        ...(messagingServiceSid === undefined ? { From: from ?? '' } : { MessagingServiceSid: messagingServiceSid }),
      });
      const reply = await http.send(
        `${baseUrl.replace(/\/+$/, '')}/2010-04-01/Accounts/${accountSid}/Messages.json`,
        {
          headers: {
            authorization: `Basic ${Buffer.from(`${accountSid}:${authToken}`).toString('base64')}`,
            'content-type': 'application/x-www-form-urlencoded',
            accept: 'application/json',
            'i-twilio-idempotency-token': message.idempotencyKey,
          },
          body: form.toString(),
        },
        limits,
      );
      return isFailure(reply) ? reply : resultOf(reply);
    },
    close: async () => {},
  };
};

function resultOf(reply: HttpReply): SendResult {
  const answer = jsonOf(reply);
  if (isSuccess(reply)) {
    const sid = answer?.['sid'];
    return typeof sid === 'string' ? { outcome: 'ok', providerMessageId: sid.slice(0, 200) } : malformedReply();
  }
  const failure = failureOf(reply);
  const code = answer?.['code'];
  if (typeof code !== 'number') return failure;
  return {
    ...failure,
    ...CODES[code],
    errorCode: `twilio_${code}`,
    errorMessage: `The SMS provider answered ${reply.status} with code ${code}.`,
  };
}
