import { importPKCS8, SignJWT } from 'jose';
import { LRUCache } from 'lru-cache';

import type { CreateProvider, OutboundMessage } from './channel.ts';
import type { SendFailure, SendResult } from './send-result.ts';
import {
  failureOf,
  type HttpClient,
  type HttpReply,
  isFailure,
  isSuccess,
  jsonOf,
  malformedReply,
} from './http-client.ts';
import { ConfigInvalid, configReader, misconfigured } from './provider-config.ts';

/** A Firebase project and its service account. */
export interface FcmConfig {
  projectId: string;
  clientEmail: string;
  privateKey: string;
  tokenUrl: string;
  /** Default: `https://fcm.googleapis.com`. */
  baseUrl?: string;
}

const configSchema = {
  type: 'object',
  anyOf: [{ required: ['serviceAccount'] }, { required: ['projectId', 'clientEmail', 'privateKey', 'tokenUrl'] }],
  additionalProperties: false,
  properties: {
    serviceAccount: {
      type: 'string',
      pattern: '"private_key"',
      writeOnly: true,
      description: 'Content of the JSON key file of a service account. It replaces the other required fields.',
    },
    projectId: { type: 'string', pattern: '^[a-z0-9-]{4,60}$', description: 'Id of the Firebase project.' },
    clientEmail: { type: 'string', minLength: 3, description: 'Email address of the service account.' },
    privateKey: {
      type: 'string',
      pattern: 'BEGIN PRIVATE KEY',
      writeOnly: true,
      description: 'Private key of the service account, in PEM format.',
    },
    tokenUrl: { type: 'string', pattern: '^https?://', description: 'URL that issues access tokens.' },
    baseUrl: {
      type: 'string',
      pattern: '^https?://',
      description: 'Base URL of an API that is compatible with FCM. Default: Google’s API.',
    },
  },
};

/** FCM error codes that are more specific than the HTTP status (firebase.google.com/docs/reference/fcm/rest/v1). */
const CODES: Record<string, Pick<SendFailure, 'outcome' | 'blames' | 'suppress'>> = {
  UNREGISTERED: { outcome: 'permanent', blames: 'recipient', suppress: 'hard_bounce' },
  SENDER_ID_MISMATCH: { outcome: 'permanent', blames: 'provider' },
  THIRD_PARTY_AUTH_ERROR: { outcome: 'permanent', blames: 'provider' },
  INVALID_ARGUMENT: { outcome: 'permanent', blames: 'message' },
  QUOTA_EXCEEDED: { outcome: 'transient', blames: 'provider' },
  UNAVAILABLE: { outcome: 'transient', blames: 'provider' },
  INTERNAL: { outcome: 'transient', blames: 'provider' },
};

const SCOPE = 'https://www.googleapis.com/auth/firebase.messaging';
/** FCM's limit of a message's time to live, in seconds. */
const MAX_TTL_S = 28 * 24 * 3_600;

/** Push to Android, iOS and browsers through Firebase Cloud Messaging, HTTP v1. */
export const fcmProvider: CreateProvider = ({ readSecret, http }) => {
  const configs = configReader<FcmConfig>('FCM', configSchema, readSecret, fromServiceAccount);
  const tokens = tokenSource(http);
  return {
    channel: 'push',
    name: 'fcm',
    configSchema,
    beginsItself: true,
    send: async (message, rawConfig, limits) => {
      const config = await configs.read(rawConfig);
      if ('outcome' in config) return config;
      const { timeoutMs, isTrusted } = limits;
      const token = await tokens.tokenFor(config, { timeoutMs, isTrusted });
      if (typeof token !== 'string') return token;
      const { baseUrl = 'https://fcm.googleapis.com', projectId } = config;
      const reply = await http.send(
        `${baseUrl.replace(/\/+$/, '')}/v1/projects/${projectId}/messages:send`,
        {
          headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
          body: JSON.stringify({ message: fcmMessage(message) }),
        },
        limits,
      );
      if (isFailure(reply)) return reply;
      if (reply.status === 401) tokens.forget(config);
      return resultOf(reply);
    },
    close: async () => {},
  };
};

/** Reads the fields from the JSON key file of a service account. */
function fromServiceAccount({ serviceAccount, ...rest }: Record<string, unknown>): Record<string, unknown> {
  if (typeof serviceAccount !== 'string') return rest;
  try {
    const account = JSON.parse(serviceAccount) as Record<string, unknown>;
    return {
      projectId: account['project_id'],
      clientEmail: account['client_email'],
      privateKey: account['private_key'],
      tokenUrl: account['token_uri'],
      ...rest,
    };
  } catch {
    throw new ConfigInvalid('FCM settings: serviceAccount is not valid JSON');
  }
}

function fcmMessage(message: OutboundMessage): Record<string, unknown> {
  const { address, content, collapseKey, priority, expiresAt } = message;
  const ttl = expiresAt && Math.min(MAX_TTL_S, Math.max(0, Math.floor((expiresAt.getTime() - Date.now()) / 1_000)));
  return {
    token: address,
    notification: { ...(content.subject !== null && { title: content.subject }), body: content.text },
    // FCM has no idempotency key: the app detects duplicates by this id.
    data: { notification_id: message.idempotencyKey, type: message.eventCode },
    android: {
      priority: priority === 'high' ? 'HIGH' : 'NORMAL',
      ...(ttl !== undefined && { ttl: `${ttl}s` }),
      ...(collapseKey !== undefined && { collapse_key: collapseKey }),
    },
    ...(collapseKey !== undefined && { apns: { headers: { 'apns-collapse-id': collapseKey.slice(0, 64) } } }),
  };
}

function resultOf(reply: HttpReply): SendResult {
  const answer = jsonOf(reply);
  if (isSuccess(reply)) {
    const name = answer?.['name'];
    return typeof name === 'string' ? { outcome: 'ok', providerMessageId: name.slice(0, 200) } : malformedReply();
  }
  const failure = failureOf(reply);
  const code = errorCodeIn(answer);
  const known = code === undefined ? undefined : CODES[code];
  if (!known) return failure;
  return {
    ...failure,
    ...known,
    errorCode: `fcm_${(code as string).toLowerCase()}`,
    errorMessage: `FCM answered ${reply.status} ${code}.`,
  };
}

function errorCodeIn(answer: Record<string, unknown> | undefined): string | undefined {
  const error = answer?.['error'] as { status?: unknown; details?: unknown } | undefined;
  const details = Array.isArray(error?.details) ? (error.details as { errorCode?: unknown }[]) : [];
  const code = details.find((detail) => typeof detail?.errorCode === 'string')?.errorCode ?? error?.status;
  return typeof code === 'string' ? code : undefined;
}

type Limits = Parameters<HttpClient['send']>[2];

/** Caches access tokens of service accounts (RFC 7523). Concurrent callers share one request. */
function tokenSource(http: HttpClient) {
  const tokens = new LRUCache<string, Promise<string | SendFailure>>({ max: 1_000 });
  const keyOf = ({ clientEmail, privateKey }: FcmConfig): string => JSON.stringify([clientEmail, privateKey]);

  const fetchToken = async (config: FcmConfig, limits: Limits, keep: (seconds: number) => void) => {
    let assertion: string;
    try {
      const key = await importPKCS8(config.privateKey, 'RS256');
      assertion = await new SignJWT({ scope: SCOPE })
        .setProtectedHeader({ alg: 'RS256', typ: 'JWT' })
        .setIssuer(config.clientEmail)
        .setAudience(config.tokenUrl)
        .setIssuedAt()
        .setExpirationTime('1h')
        .sign(key);
    } catch {
      return misconfigured('FCM settings: privateKey is not an RSA key in PKCS #8 format');
    }
    const reply = await http.send(
      config.tokenUrl,
      {
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion }).toString(),
      },
      limits,
    );
    // The message has not been sent yet, so its outcome is not unknown.
    if (isFailure(reply)) return reply.outcome === 'unknown' ? { ...reply, outcome: 'transient' as const } : reply;
    const { access_token: token, expires_in: seconds } = jsonOf(reply) ?? {};
    if (!isSuccess(reply)) {
      const failure = failureOf(reply);
      return { ...failure, blames: 'provider' as const, errorCode: `fcm_token_${failure.errorCode}` };
    }
    if (typeof token !== 'string') return { ...malformedReply(), outcome: 'transient' as const };
    keep(typeof seconds === 'number' ? seconds : 300);
    return token;
  };

  return {
    tokenFor: (config: FcmConfig, limits: Limits): Promise<string | SendFailure> => {
      const key = keyOf(config);
      const known = tokens.get(key);
      if (known) return known;
      const fetched = fetchToken(config, limits, (seconds) => {
        // One minute early, so that no token expires during a request.
        tokens.set(key, fetched, { ttl: Math.max(1, seconds - 60) * 1_000 });
      });
      tokens.set(key, fetched);
      const forgetFailure = async (): Promise<void> => {
        if (typeof (await fetched) !== 'string') tokens.delete(key);
      };
      void forgetFailure();
      return fetched;
    },
    forget: (config: FcmConfig): void => {
      tokens.delete(keyOf(config));
    },
  };
}
