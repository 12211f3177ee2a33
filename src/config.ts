import { accessSync, constants } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';

import { DELIVERY_MODES, type DeliveryMode } from './delivery/mode.ts';
import { type DataKey, parseDataKeys } from './keyring.ts';
import type { LiveLimits } from './live/admission.ts';

export const ROLES = ['api', 'consumer', 'dispatcher'] as const;
export type Role = (typeof ROLES)[number];

const ENVIRONMENTS = ['dev', 'staging', 'production'] as const;
const SASL_MECHANISMS = ['plain', 'scram-sha-256', 'scram-sha-512'] as const;
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

export interface KafkaConfig {
  brokers: string[];
  groupId: string;
  ssl: boolean;
  /** PEM file of the certificate authority; required when the brokers' certificate is not signed by a public one. */
  sslCaPath?: string;
  sasl?: { mechanism: (typeof SASL_MECHANISMS)[number]; username: string; password: string };
}

export interface IdentityConfig {
  jwksUrl?: URL;
  publicKeyPath?: string;
  issuer?: string;
  audience?: string;
}

export interface Config {
  environment: (typeof ENVIRONMENTS)[number];
  servicePort: number;
  serviceHost: string;
  roles: ReadonlySet<Role>;
  logLevel: (typeof LOG_LEVELS)[number];
  /** If absent in dev, an embedded server is started under `dataPath`. */
  databaseUrl?: string;
  /** Database user that runs migrations, if the user of `databaseUrl` may not. */
  databaseOwnerUrl?: string;
  /** Folder of the embedded database and the development key. */
  dataPath: string;
  /** One URL, or several for a cluster. Empty in dev for an in-process bus. */
  redisUrls: string[];
  /** If absent in dev, events are accepted over HTTP only. */
  kafka?: KafkaConfig;
  /** Topic of `notification.triggered.v1`. */
  pubsubTopic: string;
  identity: IdentityConfig;
  tenantConfigSecretPath?: string;
  /** Folder of the files of `secret://name`. */
  secretsPath: string;
  /** Default SMTP relay: `secret://name` or an `smtp://` URL. */
  smtpProviderSecret?: string;
  deliveryMode: DeliveryMode;
  /** Public base URL of the service. Without it mails contain no unsubscribe links. */
  publicUrl?: string;
  /** Key that signs unsubscribe links: `secret://name` or the key itself. */
  linkSecret?: string;
  /** Duration of a dispatcher's lease on a row, in milliseconds. Leases are renewed while a row is in flight. */
  deliveryLeaseMs: number;
  live: LiveLimits;
  /** Interval of the heartbeat for connected clients, in milliseconds. */
  liveHeartbeatMs: number;
  /** Allowed prefixes of callback URLs of subscriptions. Empty to disable the callback protocol. */
  callbackUrls: string[];
  /** Keys that encrypt values in the database. The first encrypts, all decrypt. */
  dataKeys: DataKey[];
  /** URL of the audit service. If absent, audit events stay in the database only. */
  auditServiceEndpoint?: string;
  /** True to use prepared statements. Set to false behind a pooler that does not support them. */
  databaseKeepsPlans: boolean;
  /** True to run only the operations in `schema/operations/`. */
  trustedOperationsOnly: boolean;
  /** Hosts, IP addresses and CIDR ranges that tenants may use although they are not public. */
  outboundAllow: string[];
  /** Number of threads that compose and send mail; 0 to use the main thread. */
  mailThreads: number;
}

/** The environment is invalid. Lists all problems. */
export class ConfigError extends Error {
  readonly problems: string[];

  constructor(problems: string[]) {
    super(`Invalid configuration:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

type Env = Record<string, string | undefined>;

/**
 * Reads and validates all environment variables. Messages never contain values of secrets.
 * @throws {ConfigError} with every missing or invalid variable.
 */
export function readConfig(env: Env): Config {
  const problems: string[] = [];
  const text = (name: string): string | undefined => env[name]?.trim() || undefined;

  const oneOf = <T extends string>(name: string, allowed: readonly T[], fallback: T): T => {
    const value = text(name);
    if (value === undefined) return fallback;
    if ((allowed as readonly string[]).includes(value)) return value as T;
    problems.push(`${name} must be one of ${allowed.join(', ')}`);
    return fallback;
  };
  const flag = (name: string): boolean => oneOf(name, ['true', 'false'] as const, 'false') === 'true';
  const wholeNumber = (
    name: string,
    { min, max, fallback }: { min: number; max: number; fallback: number },
  ): number => {
    const value = text(name);
    if (value === undefined) return fallback;
    if (/^\d{1,9}$/.test(value) && Number(value) >= min && Number(value) <= max) return Number(value);
    problems.push(`${name} must be a number from ${min} to ${max}`);
    return fallback;
  };
  const url = (name: string, value: string, protocols: string[]): URL | undefined => {
    const parsed = URL.parse(value);
    if (parsed && protocols.includes(parsed.protocol)) return parsed;
    problems.push(`${name} must be a URL starting with ${protocols.map((p) => `${p}//`).join(' or ')}`);
    return undefined;
  };
  const readable = (name: string): string | undefined => {
    const value = text(name);
    if (value === undefined) return undefined;
    try {
      accessSync(value, constants.R_OK);
    } catch {
      problems.push(`${name} points to ${value}, which cannot be read`);
    }
    return resolve(value);
  };

  const environment = oneOf('ENVIRONMENT', ENVIRONMENTS, 'production');
  const isDev = environment === 'dev';
  const required = (name: string, purpose: string): void => {
    if (!isDev && !text(name)?.replaceAll(/[\s,]/g, '')) problems.push(`${name} is required outside dev: ${purpose}`);
  };

  const servicePort = wholeNumber('SERVICE_PORT', { min: 0, max: 65_535, fallback: 8_080 });

  const roles = readRoles(text('ROLES'), problems);

  required('DATABASE_URL', 'URL of the PostgreSQL database');
  for (const name of ['DATABASE_URL', 'DATABASE_OWNER_URL']) {
    const value = text(name);
    if (value !== undefined) url(name, value, ['postgres:', 'postgresql:']);
  }

  required('REDIS_URL', 'instances notify each other through it');
  const redisUrls = listOf(text('REDIS_URL'));
  for (const value of redisUrls) url('REDIS_URL', value, ['redis:', 'rediss:']);

  if (roles.has('consumer')) required('KAFKA_BROKERS', 'host:port, comma separated');
  const kafka = readKafka(text, flag, oneOf, readable, problems);

  const jwksUrlText = text('JWKS_URL');
  const jwksUrl = jwksUrlText === undefined ? undefined : url('JWKS_URL', jwksUrlText, ['http:', 'https:']);
  const publicKeyPath = readable('JWT_PUBLIC_KEY_PATH');
  if (jwksUrlText !== undefined && publicKeyPath !== undefined) {
    problems.push('JWKS_URL and JWT_PUBLIC_KEY_PATH exclude each other: set one');
  }
  if (!isDev && jwksUrlText === undefined && text('JWT_PUBLIC_KEY_PATH') === undefined) {
    problems.push('JWKS_URL or JWT_PUBLIC_KEY_PATH is required outside dev: it contains the keys that verify tokens');
  }

  const smtpProviderSecret = text('SMTP_PROVIDER_SECRET');
  if (smtpProviderSecret !== undefined) url('SMTP_PROVIDER_SECRET', smtpProviderSecret, ['secret:', 'smtp:', 'smtps:']);

  const publicUrl = text('PUBLIC_URL');
  const linkSecret = text('LINK_SECRET');
  if (publicUrl !== undefined) url('PUBLIC_URL', publicUrl, isDev ? ['http:', 'https:'] : ['https:']);
  if (publicUrl !== undefined && linkSecret === undefined) {
    problems.push('LINK_SECRET is required with PUBLIC_URL: it signs unsubscribe links');
  }
  if (linkSecret !== undefined && !linkSecret.startsWith('secret://') && linkSecret.length < 32) {
    problems.push('LINK_SECRET must be secret://name, or a key of at least 32 characters');
  }

  const outboundAllow = listOf(text('OUTBOUND_ALLOW'));
  if (outboundAllow.some((entry) => !/^[A-Za-z0-9._:-]+(\/\d{1,3})?$/.test(entry))) {
    problems.push('OUTBOUND_ALLOW must be hosts, IP addresses or CIDR ranges, comma separated');
  }
  const mailThreads = wholeNumber('MAIL_THREADS', {
    min: 0,
    max: 64,
    fallback: Math.max(1, availableParallelism() - 1),
  });

  const callbackUrls = listOf(text('CALLBACK_URLS'));
  for (const value of callbackUrls) url('CALLBACK_URLS', value, ['http:', 'https:']);

  let dataKeys: DataKey[] = [];
  const dataKeysText = text('DATA_KEYS');
  try {
    if (dataKeysText !== undefined) dataKeys = parseDataKeys(dataKeysText);
  } catch (error) {
    problems.push(`DATA_KEYS ${(error as Error).message}`);
  }

  const auditServiceEndpoint = text('AUDIT_SERVICE_ENDPOINT');
  if (auditServiceEndpoint !== undefined) url('AUDIT_SERVICE_ENDPOINT', auditServiceEndpoint, ['http:', 'https:']);

  const million = 1_000_000;
  const config: Config = {
    live: {
      perProcess: wholeNumber('LIVE_MAX_SOCKETS', { min: 1, max: million, fallback: 20_000 }),
      perTenant: wholeNumber('LIVE_MAX_SOCKETS_PER_TENANT', { min: 1, max: million, fallback: 10_000 }),
      perUser: wholeNumber('LIVE_MAX_SOCKETS_PER_USER', { min: 1, max: million, fallback: 50 }),
      operationsPerSocket: wholeNumber('LIVE_MAX_OPERATIONS', { min: 1, max: million, fallback: 100 }),
      bufferBytes: wholeNumber('LIVE_BUFFER_BYTES', { min: 16_384, max: 256 * million, fallback: 1_048_576 }),
      initTimeoutMs: wholeNumber('LIVE_INIT_TIMEOUT_MS', { min: 100, max: 600_000, fallback: 10_000 }),
      pingMs: wholeNumber('LIVE_PING_MS', { min: 100, max: 600_000, fallback: 12_000 }),
      drainMs: wholeNumber('LIVE_DRAIN_MS', { min: 0, max: 20_000, fallback: isDev ? 0 : 3_000 }),
    },
    liveHeartbeatMs: wholeNumber('LIVE_HEARTBEAT_MS', { min: 100, max: 7_000, fallback: 5_000 }),
    callbackUrls,
    dataKeys,
    databaseKeepsPlans: oneOf('DATABASE_PREPARE', ['true', 'false'] as const, 'true') === 'true',
    trustedOperationsOnly: flag('TRUSTED_OPERATIONS_ONLY'),
    environment,
    servicePort,
    // The development mailbox needs no token, so in dev the server listens on localhost only.
    serviceHost: text('SERVICE_HOST') ?? (isDev ? '127.0.0.1' : '0.0.0.0'),
    roles,
    logLevel: oneOf('LOG_LEVEL', LOG_LEVELS, 'info'),
    dataPath: resolve(text('DATA_PATH') ?? '.data'),
    redisUrls,
    pubsubTopic: text('PUBSUB_TOPIC') ?? 'notification.triggered.v1',
    identity: definedOnly({
      jwksUrl,
      publicKeyPath,
      issuer: text('JWT_ISSUER'),
      audience: text('JWT_AUDIENCE'),
    }),
    deliveryLeaseMs: wholeNumber('DELIVERY_LEASE_MS', { min: 1_000, max: 3_600_000, fallback: 60_000 }),
    outboundAllow,
    mailThreads,
    secretsPath: resolve(text('SECRETS_PATH') ?? '/run/secrets'),
    deliveryMode: oneOf('DELIVERY_MODE', DELIVERY_MODES, isDev ? 'sandbox' : 'live'),
    ...definedOnly({
      databaseUrl: text('DATABASE_URL'),
      databaseOwnerUrl: text('DATABASE_OWNER_URL'),
      kafka,
      tenantConfigSecretPath: readable('TENANT_CONFIG_SECRET_PATH'),
      smtpProviderSecret,
      auditServiceEndpoint,
      publicUrl,
      linkSecret,
    }),
  };
  if (problems.length > 0) throw new ConfigError(problems);
  return config;
}

/** Splits a comma-separated list. */
function listOf(value: string | undefined): string[] {
  return (value ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean);
}

function readRoles(value: string | undefined, problems: string[]): ReadonlySet<Role> {
  const names = (value ?? ROLES.join(',')).split(',').map((name) => name.trim());
  const unknown = names.filter((name) => !(ROLES as readonly string[]).includes(name));
  if (unknown.length > 0) problems.push(`ROLES must be one or more of ${ROLES.join(', ')}, comma separated`);
  return new Set(names as Role[]);
}

function readKafka(
  text: (name: string) => string | undefined,
  flag: (name: string) => boolean,
  oneOf: <T extends string>(name: string, allowed: readonly T[], fallback: T) => T,
  readable: (name: string) => string | undefined,
  problems: string[],
): KafkaConfig | undefined {
  const brokers = listOf(text('KAFKA_BROKERS'));
  if (brokers.some((broker) => !/^[^\s:]+:\d{1,5}$|^\[[0-9a-f:]+\]:\d{1,5}$/i.test(broker))) {
    problems.push('KAFKA_BROKERS must be host:port, comma separated');
  }
  const hasMechanism = text('KAFKA_SASL_MECHANISM') !== undefined;
  const mechanism = oneOf('KAFKA_SASL_MECHANISM', SASL_MECHANISMS, 'plain');
  const username = text('KAFKA_USERNAME');
  const password = text('KAFKA_PASSWORD');
  if (hasMechanism && (username === undefined || password === undefined)) {
    problems.push('KAFKA_USERNAME and KAFKA_PASSWORD are required with KAFKA_SASL_MECHANISM');
  }
  if (!hasMechanism && (username !== undefined || password !== undefined)) {
    problems.push(`KAFKA_SASL_MECHANISM (${SASL_MECHANISMS.join(', ')}) is required with KAFKA_USERNAME`);
  }
  const ssl = flag('KAFKA_SSL');
  const sslCaPath = readable('KAFKA_SSL_CA_PATH');
  if (brokers.length === 0) return undefined;
  return {
    brokers,
    groupId: text('KAFKA_GROUP_ID') ?? 'notification-subgraph',
    ssl,
    ...definedOnly({ sslCaPath }),
    ...(hasMechanism && username && password ? { sasl: { mechanism, username, password } } : {}),
  };
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Removes undefined properties, so that an absent value is always a missing property. */
function definedOnly<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as Defined<T>;
}
