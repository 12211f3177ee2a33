import { X509Certificate } from 'node:crypto';

import type { CreateProvider, OutboundMessage } from './channel.ts';
import { mailThreads } from './mail-threads.ts';
import { ConfigInvalid, configReader } from './provider-config.ts';
import { asciiDomain } from './smtp-address.ts';
import { createSmtpClient, type Mail, type SmtpRelay } from './smtp-client.ts';
import { tlsContradiction, type TlsPolicy, tlsPolicyOf } from './smtp-tls.ts';

/** Configuration of an SMTP relay. Any value may be a `secret://name`. */
export interface SmtpConfig {
  host: string;
  port: number;
  /** True for implicit TLS instead of STARTTLS. */
  secure?: boolean;
  tls?: TlsPolicy;
  /** Certificates in PEM format of the only trusted authorities. */
  ca?: string;
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
    tls: {
      enum: ['required', 'opportunistic', 'none'],
      description:
        'Use of STARTTLS. `required`: a relay without STARTTLS or without a valid certificate gets neither login nor mail. ' +
        '`opportunistic`: only if the relay offers it, and without a login its certificate is not verified. `none`: never. ' +
        'Default: `required` with a login or a `ca`, otherwise `opportunistic`. Implicit TLS is always `required`.',
    },
    ca: {
      type: 'string',
      maxLength: 100_000,
      pattern: '^\\s*-----BEGIN CERTIFICATE-----[\\s\\S]+-----END CERTIFICATE-----\\s*$',
      description:
        'Certificates in PEM format of the authorities that may issue the certificate of the relay. Default: the public ' +
        'authorities.',
    },
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
  const configs = configReader<SmtpConfig>('SMTP', configSchema, readSecret, withUrl, contradictionIn);
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
  const { host, port, user, password, dkim, ca } = config;
  const secure = isImplicitTls(config);
  return {
    tenantId,
    host,
    port,
    secure,
    tls: tlsPolicyOf({ ...config, secure }),
    maxConnections: config.maxConnections ?? DEFAULT_CONNECTIONS,
    isTrusted,
    ...(user !== undefined && { user }),
    ...(password !== undefined && { password }),
    ...(ca !== undefined && { ca }),
    ...(dkim && { dkim }),
  };
}

const isImplicitTls = ({ secure, port }: Pick<SmtpConfig, 'secure' | 'port'>): boolean => secure ?? port === 465;

/** Returns the mail for nodemailer. The recipient is in the envelope, where address syntax cannot add a second one. */
export function composeMail(message: OutboundMessage, config: Pick<SmtpConfig, 'from' | 'replyTo' | 'bounceTo'>): Mail {
  const { content, address, unsubscribeUrl } = message;
  const { from, replyTo, bounceTo = from } = config;
  return {
    from,
    to: { name: '', address },
    envelope: { from: addressOf(bounceTo), to: address },
    subject: content.subject ?? '',
    text: content.text,
    messageId: `<${message.idempotencyKey}@${asciiDomain(addressOf(from).split('@')[1] ?? 'localhost')}>`,
    headers: unsubscribeUrl
      ? { 'List-Unsubscribe': `<${unsubscribeUrl}>`, 'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click' }
      : {},
    ...(content.html !== null && { html: content.html }),
    ...(replyTo !== undefined && { replyTo }),
  };
}

const addressOf = (from: string): string => /<([^<>]+)>\s*$/.exec(from)?.[1] ?? from.trim();

/** Returns what is wrong with settings that the schema allows. */
function contradictionIn(config: SmtpConfig): string | undefined {
  if (config.ca !== undefined && !isCertificate(config.ca)) return '`ca` must contain certificates in PEM format';
  return tlsContradiction({ ...config, secure: isImplicitTls(config) });
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== '';
  } catch {
    return false;
  }
}

/**
 * Expands `url`, an smtp:// URL or a JSON object that describes the whole relay. Other settings override its values.
 */
function withUrl({ url, ...rest }: Record<string, unknown>): Record<string, unknown> {
  return { ...(typeof url === 'string' ? parseRelay(url) : {}), ...rest };
}

/** Parses `smtp[s]://user:password@host:port?from=Name%20<address>&tls=required` or a JSON object with the same values. */
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
    ...(url.searchParams.has('tls') && { tls: url.searchParams.get('tls') }),
    from: url.searchParams.get('from') ?? `no-reply@${url.hostname}`,
  };
}
