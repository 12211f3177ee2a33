import { createHash } from 'node:crypto';

import { Ajv } from 'ajv';
import { LRUCache } from 'lru-cache';
import { createTransport, type SendMailOptions, type Transporter } from 'nodemailer';
import type SMTPPool from 'nodemailer/lib/smtp-pool/index.js';

import { isSecretReference, resolveSecrets, SecretUnavailable } from '../tenants/secrets.ts';
import type { CreateProvider, OutboundMessage, SendResult } from './channel.ts';
import { createGate, type Gate } from './gate.ts';
import { classifySmtpError } from './smtp-errors.ts';

/** Settings of an SMTP relay. Any value may be a `secret://name`. */
export interface SmtpConfig {
  host: string;
  port: number;
  /** TLS from the first byte; otherwise STARTTLS is used where the relay offers it. */
  secure?: boolean;
  user?: string;
  password?: string;
  /** Sender: an address, or `Name <address>`. */
  from: string;
  /** Connections kept open to this relay. */
  maxConnections?: number;
}

const configSchema = {
  type: 'object',
  required: ['host', 'port', 'from'],
  additionalProperties: false,
  properties: {
    host: { type: 'string', minLength: 1 },
    port: { type: 'integer', minimum: 1, maximum: 65_535 },
    secure: { type: 'boolean' },
    user: { type: 'string' },
    password: { type: 'string' },
    from: { type: 'string', minLength: 3, pattern: '^[^\\r\\n]*$' },
    maxConnections: { type: 'integer', minimum: 1, maximum: 50 },
  },
};
const validate = new Ajv({ allErrors: true, coerceTypes: true }).compile<SmtpConfig>(configSchema);

/** Relays whose connections are kept; the least used one is closed first. */
const MAX_POOLS = 500;

/** One relay: its connections, and who may use them. */
interface Relay {
  pool: Transporter<SMTPPool.SentMessageInfo>;
  gate: Gate;
}

/** Mail over SMTP, with a pool of connections for each relay in use. */
export const smtpProvider: CreateProvider = ({ readSecret }) => {
  const pools = new LRUCache<string, Relay>({ max: MAX_POOLS, dispose: ({ pool }) => pool.close() });

  const relayFor = (config: SmtpConfig): Relay => {
    const key = createHash('sha256').update(JSON.stringify(config)).digest('base64');
    const known = pools.get(key);
    if (known) return known;
    const maxConnections = config.maxConnections ?? 5;
    const pool = createTransport({
      pool: true,
      host: config.host,
      port: config.port,
      secure: config.secure ?? config.port === 465,
      maxConnections,
      maxMessages: Number.POSITIVE_INFINITY,
      connectionTimeout: 10_000,
      greetingTimeout: 10_000,
      socketTimeout: 25_000,
      // A template or an event must never make the composer open a file or a URL of ours.
      disableFileAccess: true,
      disableUrlAccess: true,
      ...(config.user === undefined ? {} : { auth: { user: config.user, pass: config.password ?? '' } }),
    });
    const relay = { pool, gate: createGate(maxConnections) };
    pools.set(key, relay);
    return relay;
  };

  return {
    channel: 'email',
    name: 'smtp',
    configSchema,
    send: async (message, rawConfig, { timeoutMs }) => {
      let config: SmtpConfig;
      try {
        config = await readConfig(rawConfig, readSecret);
      } catch (error) {
        if (!(error instanceof SecretUnavailable || error instanceof TypeError)) throw error;
        return {
          outcome: 'permanent',
          blames: 'provider',
          errorCode: 'channel_misconfigured',
          errorMessage: error.message,
        };
      }
      return deliver(relayFor(config), composeMail(message, config.from), timeoutMs);
    },
    close: async () => pools.clear(),
  };
};

/** The mail as nodemailer takes it. The recipient stands in the envelope, where no syntax can add a second one. */
export function composeMail(message: OutboundMessage, from: string): SendMailOptions & { messageId: string } {
  const { content, address } = message;
  return {
    from,
    to: { name: '', address },
    envelope: { from: addressOf(from), to: [address] },
    subject: content.subject ?? '',
    text: content.text,
    ...(content.html === null ? {} : { html: content.html }),
    messageId: `<${message.idempotencyKey}@${addressOf(from).split('@')[1] ?? 'localhost'}>`,
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

const addressOf = (from: string): string => /<([^<>]+)>\s*$/.exec(from)?.[1] ?? from.trim();

async function readConfig(
  raw: Record<string, unknown>,
  readSecret: (reference: string) => Promise<string>,
): Promise<SmtpConfig> {
  // A whole relay in one secret: an smtp:// URL or a JSON object.
  const { url, ...rest } = raw;
  const text = isSecretReference(url) ? await readSecret(url) : url;
  const fromUrl = typeof text === 'string' ? parseRelay(text) : {};
  const config = await resolveSecrets({ ...fromUrl, ...rest }, readSecret);
  if (validate(config)) return config;
  const problems = (validate.errors ?? []).map((error) =>
    `${error.instancePath.slice(1)} ${error.message ?? ''}`.trim(),
  );
  throw new TypeError(`SMTP settings: ${problems.join('; ')}`);
}

/** `smtp[s]://user:password@host:port?from=Name%20<address>`, or the same as a JSON object. */
function parseRelay(text: string): Record<string, unknown> {
  if (text.startsWith('{')) {
    try {
      return JSON.parse(text) as Record<string, unknown>;
    } catch {
      throw new TypeError('SMTP settings: not valid JSON');
    }
  }
  const url = URL.parse(text);
  if (!url || !/^smtps?:$/.test(url.protocol)) throw new TypeError('SMTP settings: not an smtp:// URL');
  const secure = url.protocol === 'smtps:';
  return {
    host: url.hostname,
    port: url.port === '' ? (secure ? 465 : 587) : Number(url.port),
    secure,
    ...(url.username === '' ? {} : { user: decodeURIComponent(url.username) }),
    ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
    from: url.searchParams.get('from') ?? `no-reply@${url.hostname}`,
  };
}

/**
 * Hands a mail to the relay once a connection is free for it. The pool's own queue is never used: a mail that waits
 * there cannot be taken back, and would be sent although it was given up and tried again.
 */
async function deliver(
  { pool, gate }: Relay,
  mail: SendMailOptions & { messageId: string },
  timeoutMs: number,
): Promise<SendResult> {
  await gate.enter();
  let timer: NodeJS.Timeout | undefined;
  const sending = pool.sendMail(mail);
  // The place is free when the relay is done with the mail, even if nobody waits for that any more.
  void sending.catch(() => {}).finally(gate.leave);
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' })), timeoutMs);
  });
  try {
    await Promise.race([sending, timeout]);
    return { outcome: 'ok', providerMessageId: mail.messageId };
  } catch (error) {
    return classifySmtpError(error);
  } finally {
    clearTimeout(timer);
  }
}
