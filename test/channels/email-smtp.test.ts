import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { OutboundMessage } from '../../src/channels/channel.ts';
import { smtpProvider } from '../../src/channels/email-smtp.ts';
import { eventually } from '../support/eventually.ts';
import { type SmtpSink, startSmtpSink } from '../support/smtp-sink.ts';

const message = (number: number): OutboundMessage => ({
  tenantId: 't',
  logId: `log-${number}`,
  eventId: `event-${number}`,
  channel: 'email',
  address: `person-${number}@example.com`,
  content: { subject: 'x', text: 'x', html: null },
  eventCode: 'x',
  idempotencyKey: `key-${number}`,
  priority: 'normal',
  createdAt: new Date(),
});

describe('a slow relay', () => {
  let sink: SmtpSink;
  beforeEach(async () => {
    sink = await startSmtpSink();
  });
  afterEach(() => sink.close());

  it('is given no more than it has connections for, and what waits neither runs out of time nor is sent twice', async () => {
    const provider = smtpProvider({ readSecret: async () => '', outboundAllow: [] });
    const config = { host: '127.0.0.1', port: sink.port, from: 'a@example.com', maxConnections: 2 };
    const release = Promise.withResolvers<void>();
    let inHand = 0;
    sink.onMail = async () => {
      inHand += 1;
      await release.promise;
    };
    const sends = [1, 2, 3, 4, 5, 6].map((number) =>
      provider.send(message(number), config, { timeoutMs: 500, isTrusted: true }),
    );
    await eventually(() => inHand === 2, 'two mails in hand');
    // These two were handed over and not answered in time; the others have not even begun.
    expect(await Promise.all(sends.slice(0, 2))).toMatchObject([
      { outcome: 'transient', errorCode: 'smtp_etimedout' },
      { outcome: 'transient', errorCode: 'smtp_etimedout' },
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
