import type { CreateProvider, OutboundMessage } from './channel.ts';
import type { SendResult } from './send-result.ts';
import { failureOf, type HttpReply, isFailure, isSuccess, jsonOf, malformedReply } from './http-client.ts';
import { configReader } from './provider-config.ts';

/** Maps a message to a request of an SMS gateway with an HTTP API, and the gateway's replies to outcomes. */
export interface SmsHttpConfig {
  url: string;
  method?: 'POST' | 'PUT' | 'GET';
  headers?: Record<string, string>;
  /** The placeholders `{to}`, `{text}`, `{from}` and `{key}` (the idempotency key) are replaced. */
  body?: Record<string, unknown>;
  /** Encoding of the body. `query` sends the values as URL parameters. Default: `json`. */
  encoding?: 'json' | 'form' | 'query';
  from?: string;
  /** Name of the header that carries the idempotency key. */
  idempotencyHeader?: string;
  /** JSON Pointer (RFC 6901) to the gateway's result code. If absent, only the HTTP status counts. */
  codePointer?: string;
  successCodes?: (string | number)[];
  transientCodes?: (string | number)[];
  badRecipientCodes?: (string | number)[];
  /** JSON Pointer to the message id that the gateway assigned. */
  messageIdPointer?: string;
}

const codes = { type: 'array', maxItems: 100, items: { type: ['string', 'number'] } };
const pointer = { type: 'string', pattern: '^(/[^/]*)*$' };
const header = "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$";

const configSchema = {
  type: 'object',
  required: ['url'],
  additionalProperties: false,
  properties: {
    url: { type: 'string', pattern: '^https?://', description: 'URL that is called for each message.' },
    method: { enum: ['POST', 'PUT', 'GET'], description: 'HTTP method. Default: POST.' },
    headers: {
      description: 'Headers of each request, including credentials.',
      type: 'object',
      writeOnly: true,
      propertyNames: { pattern: header },
      additionalProperties: { type: 'string', pattern: '^[\\t\\x20-\\x7e]*$' },
    },
    body: {
      type: 'object',
      description: 'Body template. The placeholders {to}, {text}, {from} and {key} (idempotency key) are replaced.',
    },
    encoding: { enum: ['json', 'form', 'query'], description: 'Encoding of the body. Default: json.' },
    from: { type: 'string', description: 'Value of the placeholder {from}.' },
    idempotencyHeader: {
      type: 'string',
      pattern: header,
      description: 'Name of the header that carries the idempotency key.',
    },
    codePointer: { ...pointer, description: 'JSON Pointer to the result code in a reply.' },
    successCodes: { ...codes, description: 'Result codes of accepted messages.' },
    transientCodes: { ...codes, description: 'Result codes of temporary failures, which are retried.' },
    badRecipientCodes: { ...codes, description: 'Result codes of invalid phone numbers, which are suppressed.' },
    messageIdPointer: { ...pointer, description: 'JSON Pointer to the message id in a reply.' },
  },
};

const DEFAULT_BODY = { to: '{to}', text: '{text}', from: '{from}' };

/** SMS through any HTTP gateway. The configuration maps messages to requests and replies to outcomes. */
export const smsHttpProvider: CreateProvider = ({ readSecret, http }) => {
  const configs = configReader<SmsHttpConfig>('SMS gateway', configSchema, readSecret);
  return {
    channel: 'sms',
    name: 'http',
    configSchema,
    beginsItself: true,
    send: async (message, rawConfig, limits) => {
      const config = await configs.read(rawConfig);
      if ('outcome' in config) return config;
      const { url, ...request } = requestOf(message, config);
      const reply = await http.send(url, request, limits);
      return isFailure(reply) ? reply : resultOf(reply, config);
    },
    close: async () => {},
  };
};

function requestOf(message: OutboundMessage, config: SmsHttpConfig) {
  const { method = 'POST', headers = {}, body = DEFAULT_BODY, encoding = 'json', from = '' } = config;
  const values = { to: message.address, text: message.content.text, from, key: message.idempotencyKey };
  const filled = fill(body, values) as Record<string, unknown>;
  const url = new URL(config.url);
  if (encoding === 'query')
    for (const [name, value] of Object.entries(filled)) url.searchParams.set(name, textOf(value));
  const sent = {
    ...headers,
    ...(config.idempotencyHeader && { [config.idempotencyHeader]: message.idempotencyKey }),
    ...(encoding !== 'query' && {
      'content-type': encoding === 'json' ? 'application/json' : 'application/x-www-form-urlencoded',
    }),
  };
  const form = (): string =>
    new URLSearchParams(
      Object.entries(filled).map(([name, value]): [string, string] => [name, textOf(value)]),
    ).toString();
  return {
    url: url.href,
    method,
    headers: sent,
    ...(encoding !== 'query' && { body: encoding === 'json' ? JSON.stringify(filled) : form() }),
  };
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** Replaces the placeholders in one pass, so that a value that contains a placeholder is not replaced again. */
function fill(template: unknown, values: Record<string, string>): unknown {
  if (typeof template === 'string')
    return template.replaceAll(/\{(to|text|from|key)\}/g, (_all, name: string) => values[name] ?? '');
  if (Array.isArray(template)) return template.map((item) => fill(item, values));
  if (typeof template !== 'object' || template === null) return template;
  return Object.fromEntries(Object.entries(template).map(([key, value]) => [key, fill(value, values)]));
}

function resultOf(reply: HttpReply, config: SmsHttpConfig): SendResult {
  const { codePointer, successCodes, transientCodes = [], badRecipientCodes = [], messageIdPointer } = config;
  const answer = codePointer || messageIdPointer ? jsonOf(reply) : undefined;
  const code = codePointer === undefined ? undefined : valueAt(answer, codePointer);
  const isOneOf = (list: (string | number)[]): boolean => code !== undefined && list.map(String).includes(String(code));
  const error = {
    errorCode: 'sms_refused',
    errorMessage: `The SMS gateway answered ${reply.status} with an error code.`,
  };
  if (isOneOf(badRecipientCodes))
    return { outcome: 'permanent', blames: 'recipient', suppress: 'hard_bounce', ...error };
  if (isOneOf(transientCodes)) return { outcome: 'transient', blames: 'provider', ...error };
  if (!isSuccess(reply)) return failureOf(reply);
  if (codePointer !== undefined && code === undefined) return malformedReply();
  if (successCodes && !isOneOf(successCodes)) return { outcome: 'permanent', blames: 'provider', ...error };
  const id = messageIdPointer === undefined ? undefined : valueAt(answer, messageIdPointer);
  return id === undefined ? { outcome: 'ok' } : { outcome: 'ok', providerMessageId: String(id).slice(0, 200) };
}

/** Returns the string or number at a JSON Pointer. */
function valueAt(document: unknown, at: string): string | number | undefined {
  let value = document;
  for (const step of at.split('/').slice(1)) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<string, unknown>)[step.replaceAll('~1', '/').replaceAll('~0', '~')];
  }
  return typeof value === 'string' || typeof value === 'number' ? value : undefined;
}
