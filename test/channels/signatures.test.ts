import { randomBytes } from 'node:crypto';

import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { webPushProvider } from '../../src/channels/push-webpush.ts';
import { webhookProvider } from '../../src/channels/webhook.ts';
import { answer, type HttpPeer, startHttpPeer } from '../support/http-peer.ts';
import { httpProviders } from './http-providers.ts';
import { outboundMessage, providerContext } from './messages.ts';

const limits = { timeoutMs: 5_000, isTrusted: false, begin: async () => true };

describe('a receiver can verify', () => {
  let peer: HttpPeer;
  beforeEach(async () => {
    peer = await startHttpPeer();
    peer.onRequest = (_request, response) => answer(response, { status: 201 });
  });
  afterEach(() => peer.close());

  it('a webhook with the new and the old key during a rotation, but with no other key', async () => {
    const [newKey, oldKey, otherKey] = [1, 2, 3].map(() => `whsec_${randomBytes(32).toString('base64')}`) as [
      string,
      string,
      string,
    ];
    const provider = webhookProvider(providerContext());
    const message = outboundMessage('webhook', `${peer.url}/in`, {
      content: { subject: null, text: '{"name": "Nguyễn Văn A"}', html: null },
    });
    expect(await provider.send(message, { secrets: [newKey, oldKey] }, limits)).toEqual({ outcome: 'ok' });
    const [request] = peer.requests;
    if (!request) throw new Error('the receiver got no request');
    const headers = request.headers as Record<string, string>;
    for (const key of [newKey, oldKey]) {
      expect(new Webhook(key).verify(request.body, headers)).toEqual({
        type: 'user.welcome',
        timestamp: '2026-01-02T03:04:05.000Z',
        data: { name: 'Nguyễn Văn A' },
      });
    }
    expect(() => new Webhook(otherKey).verify(request.body, headers)).toThrow('No matching signature found');
    expect(() => new Webhook(newKey).verify(`${request.body} `, headers)).toThrow('No matching signature found');
    await provider.close();
  });

  it('a webhook whose template is not JSON, which is sent as text', async () => {
    const provider = webhookProvider(providerContext());
    const secrets = [`whsec_${randomBytes(32).toString('base64')}`];
    await provider.send(outboundMessage('webhook', `${peer.url}/in`), { secrets }, limits);
    expect(JSON.parse(peer.requests[0]?.body ?? '')).toMatchObject({ data: { text: 'Xin chào Anna' } });
    await provider.close();
  });

  it('a Web Push message: encrypted for the browser, signed with VAPID, with a topic', async () => {
    const example = httpProviders.find(({ name }) => name === 'web push');
    if (!example) throw new Error('the conformance case does not exist');
    const provider = webPushProvider(providerContext());
    const message = outboundMessage('push', example.address(peer.url), {
      collapseKey: 'order-1024',
      priority: 'high',
      expiresAt: new Date(Date.now() + 60_000),
    });
    expect(await provider.send(message, example.config(peer.url), limits)).toMatchObject({ outcome: 'ok' });
    const [request] = peer.requests;
    expect(request?.headers).toMatchObject({
      'content-encoding': 'aes128gcm',
      urgency: 'high',
      topic: expect.stringMatching(/^[A-Za-z0-9_-]{32}$/),
      authorization: expect.stringMatching(/^vapid t=.+, k=.+/),
    });
    expect(Number(request?.headers['ttl'])).toBeGreaterThan(50);
    expect(request?.body).not.toContain('Xin chào');
    await provider.close();
  });

  it('no message for a device token that is not a Web Push subscription: the next provider is used', async () => {
    const example = httpProviders.find(({ name }) => name === 'web push');
    const provider = webPushProvider(providerContext());
    const message = outboundMessage('push', 'an-fcm-token');
    expect(await provider.send(message, example?.config('') ?? {}, limits)).toMatchObject({
      outcome: 'permanent',
      blames: 'provider',
      errorCode: 'address_unsupported',
    });
    await provider.close();
  });
});
