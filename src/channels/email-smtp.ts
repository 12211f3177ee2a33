import type { CreateProvider, OutboundMessage } from './channel.ts';
import { mailThreads } from './mail-threads.ts';
import { ConfigInvalid, configReader } from './provider-config.ts';
import { createSmtpClient, type Mail, type SmtpRelay } from './smtp-client.ts';

/** Configuration of an SMTP relay. Any value may be a `secret://name`. */
export interface SmtpConfig {
  host: string;
  port: number;
  /** True for implicit TLS; otherwise STARTTLS is used when the relay offers it. */
  secure?: boolean;
  user?: string;
  password?: string;
  /** Sender: an address, or `Name <address>`. */
  from: string;
  replyTo?: string;
  /** Envelope sender, which receives bounces. Default: `from`. */
  bounceTo?: string;
  dkim?: { domainName: string; keySelector: string; privateKey: string };
  /** Maximum number of connections of this process to the relay. */
  maxConnections?: number;
}

const oneLine = { type: 'string', minLength: 1, pattern: '^[^\\r\\n\\u0000]*$' };

const configSchema = {
  type: 'object',
  required: ['host', 'port', 'from'],
  additionalProperties: false,
  properties: {
    host: { ...oneLine, maxLength: 253, description: 'Host name or IP address of the relay.' },
    port: { type: 'integer', minimum: 1, maximum: 65_535, description: 'Port of the relay, e.g. 587.' },
    secure: { type: 'boolean', description: 'Use implicit TLS instead of STARTTLS. Default: true on port 465.' },
    user: { type: 'string', description: 'User name. Leave it out when the relay needs no login.' },
    password: { type: 'string', writeOnly: true, description: 'Password of the user.' },
    from: { ...oneLine, minLength: 3, description: 'Sender: an address or `Name <address>`.' },
    replyTo: { ...oneLine, minLength: 3, description: 'Address that receives replies. Default: the sender.' },
    bounceTo: {
      ...oneLine,
      minLength: 3,
      description: 'Envelope sender, which receives bounces. Default: the sender.',
    },
    dkim: {
      description: 'Signs every mail with DKIM.',
      type: 'object',
      required: ['domainName', 'keySelector', 'privateKey'],
      additionalProperties: false,
      properties: {
        domainName: { ...oneLine, description: 'Signing domain.' },
        keySelector: { ...oneLine, description: 'Selector of the public key in DNS.' },
        privateKey: { type: 'string', minLength: 1, writeOnly: true, description: 'Private key in PEM format.' },
      },
    },
    maxConnections: {
      type: 'integer',
      minimum: 1,
      maximum: 50,
      description: 'Maximum number of connections of each process. Default: 10.',
    },
  },
};

const DEFAULT_CONNECTIONS = 10;

/** Email over SMTP. Worker threads compose and send the mails, so that throughput grows with the number of cores. */
export const smtpProvider: CreateProvider = ({ readSecret, outboundAllow, mailThreads: threads }) => {
  const client = threads > 0 ? mailThreads({ threads, outboundAllow }) : createSmtpClient(outboundAllow);
  const configs = configReader<SmtpConfig>('SMTP', configSchema, readSecret, withUrl);
  return {
    channel: 'email',
    name: 'smtp',
    configSchema,
    beginsItself: true,
    send: async (message, rawConfig, { timeoutMs, isTrusted, begin }) => {
      const config = await configs.read(rawConfig);
      if ('outcome' in config) return config;
      return client.send(relayOf(message.tenantId, config, isTrusted), composeMail(message, config), {
        timeoutMs,
        begin,
      });
    },
    close: () => client.close(),
  };
};

function relayOf(tenantId: string, config: SmtpConfig, isTrusted: boolean): SmtpRelay {
  const { host, port, user, password, dkim } = config;
  return {
    tenantId,
    host,
    port,
    secure: config.secure ?? port === 465,
    maxConnections: config.maxConnections ?? DEFAULT_CONNECTIONS,
    isTrusted,
    ...(user !== undefined && { user }),
    ...(password !== undefined && { password }),
    ...(dkim && { dkim }),
  };
}

/** Returns the mail for nodemailer. The recipient is in the envelope, where address syntax cannot add a second one. */
export function composeMail(message: OutboundMessage, config: Pick<SmtpConfig, 'from' | 'replyTo' | 'bounceTo'>): Mail {
  const { content, address, unsubscribeUrl } = message;
  const { from, replyTo, bounceTo = from } = config;
  return {
    from,
    to: { name: '', address },
    envelope: { from: addressOf(bounceTo), to: [address] },
    subject: content.subject ?? '',
    text: content.text,
    messageId: `<${message.idempotencyKey}@${addressOf(from).split('@')[1] ?? 'localhost'}>`,
    headers: unsubscribeUrl
      ? { 'List-Unsubscribe': `<${unsubscribeUrl}>`, 'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click' }
      : {},
    ...(content.html !== null && { html: content.html }),
    ...(replyTo !== undefined && { replyTo }),
  };
}

const addressOf = (from: string): string => /<([^<>]+)>\s*$/.exec(from)?.[1] ?? from.trim();

/**
 * Expands `url`, an smtp:// URL or a JSON object that describes the whole relay. Other settings override its values.
 */
function withUrl({ url, ...rest }: Record<string, unknown>): Record<string, unknown> {
  return { ...(typeof url === 'string' ? parseRelay(url) : {}), ...rest };
}

/** Parses `smtp[s]://user:password@host:port?from=Name%20<address>` or a JSON object with the same values. */
function parseRelay(text: string): Record<string, unknown> {
  if (text.startsWith('{')) {
    try {
      return JSON.parse(text) as Record<string, unknown>;
    } catch {
      throw new ConfigInvalid('SMTP settings: `url` is not valid JSON');
    }
  }
  const url = URL.parse(text);
  if (!url || !/^smtps?:$/.test(url.protocol))
    throw new ConfigInvalid('SMTP settings: `url` must start with smtp:// or smtps://');
  const secure = url.protocol === 'smtps:';
  return {
    host: url.hostname.replaceAll(/^\[|\]$/g, ''),
    port: url.port === '' ? (secure ? 465 : 587) : Number(url.port),
    secure,
    ...(url.username === '' ? {} : { user: decodeURIComponent(url.username) }),
    ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
    from: url.searchParams.get('from') ?? `no-reply@${url.hostname}`,
  };
}
