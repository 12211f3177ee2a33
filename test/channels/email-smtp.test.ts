import { generateKeyPairSync } from 'node:crypto';

import fc from 'fast-check';
import { authenticate } from 'mailauth';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Provider } from '../../src/channels/channel.ts';

import { composeMail, smtpProvider } from '../../src/channels/email-smtp.ts';
import { mailThreads } from '../../src/channels/mail-threads.ts';
import { eventually } from '../support/eventually.ts';
import { smtpError, type SmtpSink, startSmtpSink } from '../support/smtp-sink.ts';
import { outboundMessage, providerContext } from './messages.ts';

const message = (number: number) =>
  outboundMessage('email', `person-${number}@example.com`, { idempotencyKey: `key-${number}` });

const dkimKey = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
});

describe('a slow relay', () => {
  let sink: SmtpSink;
  beforeEach(async () => {
    sink = await startSmtpSink();
  });
  afterEach(() => sink.close());

  it('gets at most one mail per connection at a time, and waiting mails neither time out nor are sent twice', async () => {
    const provider = smtpProvider(providerContext());
    const config = { host: '127.0.0.1', port: sink.port, from: 'a@example.com', maxConnections: 2 };
    const release = Promise.withResolvers<void>();
    let inHand = 0;
    sink.onMail = async () => {
      inHand += 1;
      await release.promise;
    };
    const sends = [1, 2, 3, 4, 5, 6].map((number) =>
      provider.send(message(number), config, { timeoutMs: 1_500, isTrusted: true, begin: async () => true }),
    );
    await eventually(() => inHand === 2, 'two mails in flight');
    // These two were sent and not confirmed in time. The others have not started.
    expect(await Promise.all(sends.slice(0, 2))).toMatchObject([
      { outcome: 'unknown', errorCode: 'smtp_etimedout' },
      { outcome: 'unknown', errorCode: 'smtp_etimedout' },
    ]);
    expect(inHand).toBe(2);
    release.resolve();
    expect((await Promise.all(sends.slice(2))).map(({ outcome }) => outcome)).toEqual(['ok', 'ok', 'ok', 'ok']);
    expect(sink.mails.map(({ mail }) => mail.messageId).toSorted()).toEqual(
      [1, 2, 3, 4, 5, 6].map((number) => `<key-${number}@example.com>`),
    );
    await provider.close();
  });
});

describe.each([
  ['in the main thread', 0],
  ['in worker threads', 2],
])('mail that is composed and sent %s', (_where, mailThreads) => {
  let sink: SmtpSink;
  let provider: Provider;
  beforeEach(async () => {
    sink = await startSmtpSink();
    provider = smtpProvider(providerContext({ mailThreads, readSecret: async () => dkimKey.privateKey }));
  });
  afterEach(async () => {
    await provider.close();
    await sink.close();
  });
  const config = () => ({ host: '127.0.0.1', port: sink.port, from: 'VAS <no-reply@vas.example>' });
  const limits = { timeoutMs: 5_000, isTrusted: false, begin: async () => true };

  it('has the idempotency key as Message-ID', async () => {
    const result = await provider.send(message(1), config(), limits);
    expect(result).toEqual({ outcome: 'ok', providerMessageId: '<key-1@vas.example>' });
    expect(sink.mails[0]?.mail).toMatchObject({ messageId: '<key-1@vas.example>', subject: 'Chào mừng' });
  });

  it('has a DKIM signature that includes the unsubscribe headers', async () => {
    const dkim = { domainName: 'vas.example', keySelector: 'notif', privateKey: 'secret://dkim' };
    const unsubscribeUrl = 'https://notif.vas.example/unsubscribe/token';
    await provider.send({ ...message(1), unsubscribeUrl }, { ...config(), dkim }, limits);
    const raw = sink.mails[0]?.raw ?? '';
    const { dkim: checked } = await authenticate(raw, {
      trustReceived: false,
      resolver: async (name: string, type: string) => {
        if (type !== 'TXT' || name !== 'notif._domainkey.vas.example')
          throw Object.assign(new Error(), { code: 'ENOTFOUND' });
        return [[`v=DKIM1; k=rsa; p=${dkimKey.publicKey.replaceAll(/-----[^-]+-----|\s/g, '')}`]];
      },
    });
    expect(checked.results).toMatchObject([{ status: { result: 'pass' }, signingDomain: 'vas.example' }]);
    const signed = /^DKIM-Signature:.*?\bh=([^;]+);/ims.exec(raw)?.[1]?.replaceAll(/\s/g, '').toLowerCase().split(':');
    expect(signed).toContain('list-unsubscribe');
    expect(signed).toContain('list-unsubscribe-post');
    expect(raw).toContain(`List-Unsubscribe: <${unsubscribeUrl}>`);
    expect(raw).toContain('List-Unsubscribe-Post: List-Unsubscribe=One-Click');
  });

  it('blames the recipient for a refused recipient and the provider for a refused sender', async () => {
    sink.onRecipient = () => {
      throw smtpError(550, '5.1.1 no such user');
    };
    expect(await provider.send(message(1), config(), limits)).toMatchObject({
      outcome: 'permanent',
      blames: 'recipient',
      suppress: 'hard_bounce',
    });
  });

  it('has an unknown outcome only when the relay has received it without answering', async () => {
    const release = Promise.withResolvers<void>();
    sink.onMail = () => release.promise;
    expect(await provider.send(message(1), config(), { ...limits, timeoutMs: 1_500 })).toMatchObject({
      outcome: 'unknown',
    });
    sink.onRecipient = () => release.promise;
    const other = { ...config(), maxConnections: 1 };
    expect(await provider.send(message(2), other, { ...limits, timeoutMs: 1_500 })).toMatchObject({
      outcome: 'transient',
    });
    release.resolve();
  });

  it('fails as not sent when the relay is not running', async () => {
    const away = { ...config(), port: 1 };
    expect(await provider.send(message(1), away, limits)).toMatchObject({ outcome: 'transient', blames: 'provider' });
  });

  it('is not sent to a private network unless it is allowed', async () => {
    await provider.close();
    provider = smtpProvider(providerContext({ mailThreads, outboundAllow: [] }));
    for (const host of ['127.0.0.1', 'localhost', '0x7f.1']) {
      expect(await provider.send(message(1), { ...config(), host }, limits)).toMatchObject({
        outcome: 'permanent',
        errorCode: 'outbound_forbidden',
      });
    }
    expect(sink.connections).toBe(0);
    expect(await provider.send(message(1), config(), { ...limits, isTrusted: true })).toMatchObject({ outcome: 'ok' });
  });

  it('uses separate connections for each tenant', async () => {
    await provider.send({ ...message(1), tenantId: 'one' }, config(), limits);
    await provider.send({ ...message(2), tenantId: 'one' }, config(), limits);
    await provider.send({ ...message(3), tenantId: 'two' }, config(), limits);
    expect(sink.connections).toBe(2);
  });

  it('has one recipient and one of each header for all values', async () => {
    const hostile = fc
      .string({ unit: 'binary', minLength: 1, maxLength: 60 })
      .map((text) => `a\r\nBcc: evil@x.test\n${text}`);
    await fc.assert(
      fc.asyncProperty(hostile, async (subject) => {
        sink.mails.length = 0;
        const content = { subject, text: subject, html: null };
        await provider.send({ ...message(1), content, unsubscribeUrl: 'https://x.test/u' }, config(), limits);
        const [received] = sink.mails;
        expect(received?.envelope.to).toEqual(['person-1@example.com']);
        expect(received?.mail.bcc).toBeUndefined();
        expect(received?.mail.headerLines.filter(({ key }) => key === 'subject')).toHaveLength(1);
      }),
      { numRuns: 20 },
    );
  });
});

describe('a worker thread that dies', () => {
  it('gives an unknown outcome only to the mails that it had begun to send, and is replaced', async () => {
    // A real thread that ends when it receives a certain mail and accepts every other.
    const script = new URL(
      `data:text/javascript,${encodeURIComponent(`
        import { parentPort } from 'node:worker_threads';
        parentPort.on('message', ({ id, mail, hasBegun }) => {
          if (hasBegun !== undefined) return;
          if (mail.subject === 'slow') return parentPort.postMessage({ id, begin: 'now' });
          if (mail.subject === 'deadly') return process.exit(1);
          if (mail.subject === 'fine') parentPort.postMessage({ id, result: { outcome: 'ok' } });
        });`)}`,
    );
    const client = mailThreads({ threads: 1, outboundAllow: [], script });
    const relay = {
      tenantId: 't',
      host: 'x',
      port: 25,
      secure: false,
      tls: 'none' as const,
      maxConnections: 1,
      isTrusted: false,
    };
    const begun: string[] = [];
    const slowBegan = Promise.withResolvers<void>();
    const send = (subject: string) => {
      const begin = async (): Promise<boolean> => {
        begun.push(subject);
        slowBegan.resolve();
        return true;
      };
      const mail = composeMail(
        { ...message(1), content: { subject, text: '', html: null } },
        { from: 'a@example.com' },
      );
      return client.send(relay, mail, { timeoutMs: 5_000, begin });
    };
    const sends = [send('slow'), send('waiting')];
    await slowBegan.promise;
    sends.push(send('deadly'));
    expect(await Promise.all(sends)).toMatchObject(
      ['unknown', 'transient', 'transient'].map((outcome) => ({ outcome, errorCode: 'mail_thread_lost' })),
    );
    expect(begun).toEqual(['slow']);
    expect(await send('fine')).toEqual({ outcome: 'ok' });
    await client.close();
  });
});
