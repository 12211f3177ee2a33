import { createServer, type Server, type Socket } from 'node:net';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Provider } from '../../src/channels/channel.ts';
import type { SendResult } from '../../src/channels/send-result.ts';
import { answer, type HttpPeer, type PeerReply, startHttpPeer } from '../support/http-peer.ts';
import { httpProviders } from './http-providers.ts';
import { outboundMessage, providerContext } from './messages.ts';

/** Behaviour that all HTTP providers must have. */
describe.each(httpProviders)('provider $name', (example) => {
  let peer: HttpPeer;
  let provider: Provider;
  beforeEach(async () => {
    peer = await startHttpPeer();
    provider = example.create(providerContext());
  });
  afterEach(async () => {
    await provider.close();
    await peer.close();
  });

  const replying = (reply: PeerReply): void => {
    peer.onRequest = (request, response) => answer(response, example.isAside?.(request) ?? reply);
  };
  const message = () =>
    outboundMessage(example.channel, example.address(peer.url), {
      ...(example.text && { content: { subject: null, text: example.text, html: null } }),
    });
  const send = (timeoutMs = 10_000, isTrusted = false): Promise<SendResult> =>
    provider.send(message(), example.config(peer.url), { timeoutMs, isTrusted, begin: async () => true });
  /** Requests that contain the message. */
  const sent = () => peer.requests.filter((request) => !example.isAside?.(request));

  it('sends a message', async () => {
    replying(example.success);
    expect(await send()).toMatchObject({ outcome: 'ok' });
    expect(sent()).toHaveLength(1);
  });

  it('sends nothing of the message until the attempt is recorded, and nothing at all when it is not', async () => {
    replying(example.success);
    let isFirst = true;
    const begin = async (): Promise<boolean> => {
      expect(sent()).toEqual([]);
      isFirst = false;
      return false;
    };
    const options = { timeoutMs: 5_000, isTrusted: false, begin };
    const result = await provider.send(message(), example.config(peer.url), options);
    expect(isFirst).toBe(false);
    expect(result).toMatchObject({ outcome: 'transient' });
    expect(sent()).toEqual([]);
  });

  it('reports a transient failure when the time is over before the attempt is recorded', async () => {
    replying(example.success);
    const recorded = Promise.withResolvers<boolean>();
    const options = { timeoutMs: 500, isTrusted: false, begin: () => recorded.promise };
    const result = await provider.send(message(), example.config(peer.url), options);
    expect(result).toMatchObject({ outcome: 'transient' });
    recorded.resolve(true);
    expect(sent()).toEqual([]);
  });

  it('classifies failures as transient or permanent, caused by recipient, message or provider', async () => {
    replying(example.transient);
    expect(await send()).toMatchObject({ outcome: 'transient', blames: 'provider' });
    replying(example.permanent);
    expect(await send()).toMatchObject({ outcome: 'permanent' });
    replying({ status: 401 });
    expect(await send()).toMatchObject({ outcome: 'permanent' });
  });

  it('reports an invalid address as a permanent failure of the recipient', async () => {
    replying(example.badRecipient);
    expect(await send()).toMatchObject({ outcome: 'permanent', blames: 'recipient', suppress: 'hard_bounce' });
  });

  it('returns the Retry-After time of the provider', async () => {
    replying({ status: 429, headers: { 'retry-after': '120' } });
    expect(await send()).toMatchObject({ outcome: 'transient', blames: 'provider', retryAfterMs: 120_000 });
  });

  it('reports an unknown outcome when no answer arrives in time', async () => {
    peer.onRequest = (request, response) => {
      const aside = example.isAside?.(request);
      if (aside) answer(response, aside);
    };
    expect(await send(300)).toMatchObject({ outcome: 'unknown', errorCode: 'http_etimedout' });
    expect(sent()).toHaveLength(1);
  });

  it('waits for a slow answer', async () => {
    const waiting = Promise.withResolvers<() => void>();
    peer.onRequest = (request, response) => {
      const aside = example.isAside?.(request);
      if (aside) answer(response, aside);
      else waiting.resolve(() => answer(response, example.success));
    };
    const result = send();
    (await waiting.promise)();
    expect(await result).toMatchObject({ outcome: 'ok' });
  });

  it('stops reading a reply that is too large or never ends', async () => {
    replying({ ...example.success, status: 200, body: 'x'.repeat(200_000) });
    expect(await send()).toMatchObject({ outcome: 'unknown' });
    peer.onRequest = (request, response) => {
      const aside = example.isAside?.(request);
      if (aside) return answer(response, aside);
      response.writeHead(200);
      const drip = setInterval(() => response.write(' '), 20);
      response.on('close', () => clearInterval(drip));
    };
    expect(await send(400)).toMatchObject({ outcome: 'unknown' });
  });

  it.each(example.malformed)('reports an unknown outcome for a success with an unreadable body', async (malformed) => {
    replying(malformed);
    expect(await send()).toMatchObject({ outcome: 'unknown', errorCode: 'malformed_reply' });
  });

  it('does not follow redirects', async () => {
    replying({ status: 307, headers: { location: `${peer.url}/elsewhere` } });
    expect(await send()).toMatchObject({ outcome: 'permanent', errorCode: 'http_307' });
    expect(peer.requests.map(({ path }) => path)).not.toContain('/elsewhere');
  });

  it('sends the same idempotency key on every attempt', async () => {
    replying(example.transient);
    await send();
    replying(example.success);
    await send();
    const keys = sent().map((request) => example.idempotencyKeyOf(request));
    // Web Push has no field for the key. It is in the encrypted payload, which only the browser can read.
    const expected = example.name === 'web push' ? undefined : message().idempotencyKey;
    expect(keys).toEqual([expected, expected]);
  });

  it('refuses to connect to a private network unless it is allowed', async () => {
    replying(example.success);
    await provider.close();
    provider = example.create(providerContext({ outboundAllow: [] }));
    expect(await send()).toMatchObject({ outcome: 'permanent', errorCode: 'outbound_forbidden' });
    expect(peer.requests).toEqual([]);
    const trusted = await send(10_000, true);
    expect(trusted.outcome).toBe(example.isHostForeign ? 'permanent' : 'ok');
  });

  it('includes neither secrets nor the recipient in failures', async () => {
    const results: SendResult[] = [];
    for (const reply of [example.transient, example.permanent, example.badRecipient, { status: 500, body: 'x' }]) {
      replying(reply);
      results.push(await send());
    }
    results.push(
      await provider.send(
        message(),
        { nonsense: example.secrets[0] },
        { timeoutMs: 100, isTrusted: true, begin: async () => true },
      ),
    );
    const shown = JSON.stringify(results);
    for (const hidden of [...example.secrets, message().address, '912345678', 'address-secret']) {
      expect(shown).not.toContain(hidden);
    }
  });

  it('fails with channel_misconfigured and the name of the setting when its configuration is invalid', async () => {
    const result = await provider.send(
      message(),
      { nonsense: 1 },
      { timeoutMs: 100, isTrusted: true, begin: async () => true },
    );
    expect(result).toMatchObject({ outcome: 'permanent', blames: 'provider', errorCode: 'channel_misconfigured' });
    expect(result).toHaveProperty('errorMessage', expect.stringContaining('must not have "nonsense"'));
  });

  describe('when nothing listens', () => {
    let server: Server | undefined;
    afterEach(() => new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined))));

    const listening = async (onConnection: (socket: Socket) => void): Promise<string> => {
      const opened = createServer(onConnection);
      server = opened;
      await new Promise<void>((resolve) => opened.listen(0, '127.0.0.1', resolve));
      return `http://127.0.0.1:${(opened.address() as { port: number }).port}`;
    };
    const sendTo = (url: string): Promise<SendResult> =>
      provider.send({ ...message(), address: example.address(url) }, example.config(url), {
        timeoutMs: 5_000,
        isTrusted: false,
        begin: async () => true,
      });

    it('reports a transient failure, because the message was not sent', async () => {
      expect(await sendTo('http://127.0.0.1:1')).toMatchObject({ outcome: 'transient', blames: 'provider' });
    });

    it('does not record an attempt without a connection', async () => {
      let begun = 0;
      const begin = async (): Promise<boolean> => {
        begun += 1;
        return true;
      };
      const url = 'http://127.0.0.1:1';
      const to = { ...message(), address: example.address(url) };
      const options = { timeoutMs: 5_000, isTrusted: false, begin };
      expect(await provider.send(to, example.config(url), options)).toMatchObject({ outcome: 'transient' });
      expect(begun).toBe(0);
    });

    it('reports an unknown outcome when the connection breaks', async () => {
      const url = await listening((socket) => socket.once('data', () => socket.destroy()));
      const { outcome } = await sendTo(url);
      // If a token has to be fetched first, the message was not sent yet.
      expect(outcome).toBe(example.isAside ? 'transient' : 'unknown');
    });
  });
});
