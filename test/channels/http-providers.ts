import { createECDH, generateKeyPairSync, randomBytes } from 'node:crypto';

import webPush from 'web-push';

import type { CreateProvider } from '../../src/channels/channel.ts';
import { fcmProvider } from '../../src/channels/push-fcm.ts';
import { webPushProvider } from '../../src/channels/push-webpush.ts';
import { smsHttpProvider } from '../../src/channels/sms-http.ts';
import { twilioProvider } from '../../src/channels/sms-twilio.ts';
import { webhookProvider } from '../../src/channels/webhook.ts';
import { znsProvider } from '../../src/channels/zalo-zns.ts';
import type { Channel } from '../../src/intake/channel.ts';
import type { PeerReply, PeerRequest } from '../support/http-peer.ts';

/** Description of a provider's API for the conformance suite. */
export interface HttpProviderCase {
  name: string;
  create: CreateProvider;
  channel: Channel;
  config: (peerUrl: string) => Record<string, unknown>;
  address: (peerUrl: string) => string;
  /** Body of the rendered message. */
  text?: string;
  /** Values that must not appear in failures or logs. */
  secrets: string[];
  success: PeerReply;
  transient: PeerReply;
  permanent: PeerReply;
  /** Successful replies with an unreadable body. Empty when the provider ignores the body. */
  malformed: PeerReply[];
  badRecipient: PeerReply;
  idempotencyKeyOf: (request: PeerRequest) => unknown;
  /** Matches requests that only prepare the actual one. */
  isAside?: (request: PeerRequest) => PeerReply | undefined;
  /** True when the recipient determines the host, so that it cannot be trusted. */
  isHostForeign?: true;
}

const { privateKey } = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
});
const vapid = webPush.generateVAPIDKeys();
const browser = createECDH('prime256v1');
export const browserKeys = { ecdh: browser, publicKey: browser.generateKeys('base64url'), auth: randomBytes(16) };
const webhookSecret = `whsec_${randomBytes(32).toString('base64')}`;

const json = (request: PeerRequest): Record<string, unknown> => JSON.parse(request.body) as Record<string, unknown>;

export const httpProviders: HttpProviderCase[] = [
  {
    name: 'twilio',
    create: twilioProvider,
    channel: 'sms',
    config: (baseUrl) => ({ accountSid: 'AC0123', authToken: 'twilio-secret-token', from: '+15005550006', baseUrl }),
    address: () => '+84912345678',
    secrets: ['twilio-secret-token'],
    success: { status: 201, body: { sid: 'SM123', status: 'queued' } },
    transient: { status: 503, body: { code: 20500, message: '+84912345678 later' } },
    permanent: { status: 400, body: { code: 21617, message: 'too long for +84912345678' } },
    malformed: [{ status: 201, body: '<html>' }],
    badRecipient: { status: 400, body: { code: 21211, message: 'invalid +84912345678' } },
    idempotencyKeyOf: ({ headers }) => headers['i-twilio-idempotency-token'],
  },
  {
    name: 'sms http',
    create: smsHttpProvider,
    channel: 'sms',
    config: (url) => ({
      url: `${url}/send`,
      headers: { 'x-api-key': 'gateway-secret-key' },
      body: { phone: '{to}', content: '{text}', request_id: '{key}', brand: '{from}' },
      from: 'VAS',
      codePointer: '/result/code',
      successCodes: ['00'],
      transientCodes: ['99'],
      badRecipientCodes: ['13'],
      messageIdPointer: '/result/id',
    }),
    address: () => '+84912345678',
    secrets: ['gateway-secret-key'],
    success: { status: 200, body: { result: { code: '00', id: 42 } } },
    transient: { status: 200, body: { result: { code: '99' } } },
    permanent: { status: 200, body: { result: { code: '17' } } },
    malformed: [{ status: 200, body: '{"result":' }],
    badRecipient: { status: 200, body: { result: { code: '13' } } },
    idempotencyKeyOf: (request) => json(request)['request_id'],
  },
  {
    name: 'fcm',
    create: fcmProvider,
    channel: 'push',
    config: (baseUrl) => ({
      serviceAccount: JSON.stringify({
        project_id: 'vas-project',
        client_email: 'notif@vas-project.iam.gserviceaccount.com',
        private_key: privateKey,
        token_uri: `${baseUrl}/token`,
      }),
      baseUrl,
    }),
    address: () => 'fcm-device-token-0123456789',
    secrets: ['access-token-secret', privateKey.slice(60, 120)],
    success: { status: 200, body: { name: 'projects/vas-project/messages/1' } },
    transient: { status: 503, body: { error: { status: 'UNAVAILABLE' } } },
    permanent: { status: 400, body: { error: { status: 'INVALID_ARGUMENT' } } },
    malformed: [{ status: 200, body: '[' }],
    badRecipient: {
      status: 404,
      body: { error: { status: 'NOT_FOUND', details: [{ errorCode: 'UNREGISTERED' }] } },
    },
    idempotencyKeyOf: (request) =>
      (json(request)['message'] as { data: Record<string, unknown> }).data['notification_id'],
    isAside: ({ path }) =>
      path === '/token' ? { status: 200, body: { access_token: 'access-token-secret', expires_in: 3600 } } : undefined,
  },
  {
    name: 'web push',
    create: webPushProvider,
    channel: 'push',
    config: () => ({ ...vapid, subject: 'mailto:ops@vas.example' }),
    address: (url) =>
      JSON.stringify({
        endpoint: `${url}/push/device`,
        keys: { p256dh: browserKeys.publicKey, auth: browserKeys.auth.toString('base64url') },
      }),
    secrets: [vapid.privateKey],
    success: { status: 201, headers: { location: '/message/1' } },
    transient: { status: 503 },
    permanent: { status: 413 },
    malformed: [],
    badRecipient: { status: 410 },
    idempotencyKeyOf: () => undefined,
    isHostForeign: true,
  },
  {
    name: 'webhook',
    create: webhookProvider,
    channel: 'webhook',
    config: () => ({ secrets: [webhookSecret] }),
    address: (url) => `${url}/hooks/in?key=address-secret`,
    text: '{"greeting": "Xin chào"}',
    secrets: [webhookSecret],
    success: { status: 204 },
    transient: { status: 503 },
    permanent: { status: 400 },
    malformed: [],
    badRecipient: { status: 410 },
    idempotencyKeyOf: ({ headers }) => headers['webhook-id'],
    isHostForeign: true,
  },
  {
    name: 'zns',
    create: znsProvider,
    channel: 'zalo',
    config: (baseUrl) => ({ accessToken: 'zns-secret-token', baseUrl }),
    address: () => '+84912345678',
    text: '{"template_id": "7895417", "template_data": {"name": "Anna"}}',
    secrets: ['zns-secret-token'],
    success: { status: 200, body: { error: 0, message: 'Success', data: { msg_id: 'zns-1' } } },
    transient: { status: 200, body: { error: -126, message: 'quota' } },
    permanent: { status: 200, body: { error: -132, message: 'template data' } },
    malformed: [{ status: 200, body: 'error' }],
    badRecipient: { status: 200, body: { error: -118, message: 'no account 84912345678' } },
    idempotencyKeyOf: (request) => json(request)['tracking_id'],
  },
];
