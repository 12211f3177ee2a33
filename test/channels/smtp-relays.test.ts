import { afterEach, describe, expect, it } from 'vitest';

import type { Provider } from '../../src/channels/channel.ts';
import { smtpProvider } from '../../src/channels/email-smtp.ts';
import type { SendOptions } from '../../src/channels/send-options.ts';
import type { SendResult } from '../../src/channels/send-result.ts';
import { createCertificate } from '../support/certificates.ts';
import {
  CLOSE,
  DRIP,
  HANG,
  type RelayScript,
  type Reply,
  type ScriptedRelay,
  type Step,
  startScriptedRelay,
} from '../support/smtp-relay.ts';
import { outboundMessage, providerContext } from './messages.ts';

const RECIPIENT = 'anna.nguyen@example.com';
const LONG_MS = 20_000;
/** Long enough to transfer a mail under load, short enough to wait for. */
const SHORT_MS = 2_000;
/** Short enough to wait for in many cases. */
const VERY_SHORT_MS = 500;

const authority = createCertificate({ name: 'Test authority', isAuthority: true });
const host = { hosts: ['localhost'], addresses: ['127.0.0.1'] };
const valid = createCertificate({ name: 'relay', issuer: authority, ...host });
const selfSigned = createCertificate({ name: 'relay', ...host });
const expired = createCertificate({
  name: 'relay',
  issuer: authority,
  ...host,
  notBefore: new Date('2020-01-01'),
  notAfter: new Date('2021-01-01'),
});
const future = createCertificate({
  name: 'relay',
  issuer: authority,
  ...host,
  notBefore: new Date('2090-01-01'),
  notAfter: new Date('2091-01-01'),
});
const foreign = createCertificate({ name: 'relay', issuer: authority, hosts: ['other.example'] });

const TLS = { extensions: ['STARTTLS', 'AUTH PLAIN'], certificate: valid };
const REQUIRED = { tls: 'required', ca: authority.cert };
const LOGIN = { user: 'relay-user', password: 'hunter2-secret' };

let relay: ScriptedRelay;
let provider: Provider;

async function send(
  script: RelayScript,
  settings: Record<string, unknown> = {},
  { address = RECIPIENT, ...options }: Partial<SendOptions> & { address?: string } = {},
): Promise<SendResult> {
  relay = await startScriptedRelay(script);
  provider = smtpProvider(providerContext());
  return sendAgain(settings, { address, ...options });
}

const sendAgain = (
  settings: Record<string, unknown> = {},
  { address = RECIPIENT, ...options }: Partial<SendOptions> & { address?: string } = {},
): Promise<SendResult> =>
  provider.send(
    outboundMessage('email', address, { idempotencyKey: 'key-1' }),
    { host: '127.0.0.1', port: relay.port, from: 'VAS <no-reply@vas.example>', ...settings },
    { timeoutMs: LONG_MS, isTrusted: false, begin: async () => true, ...options },
  );

const verbs = (): string[] => relay.commands.map((command) => command.split(/[ :]/)[0] ?? '');

afterEach(async () => {
  await provider.close();
  await relay.close();
});

interface Refusal {
  script: RelayScript;
  expected: Partial<Extract<SendResult, { errorCode: string }>>;
  settings?: Record<string, unknown>;
  /** Parts of the error message. */
  says?: string[];
}

const refusals: Record<string, Refusal> = {
  'refuses connections': {
    script: { replies: { GREETING: '554 5.7.1 Your network is blocked' } },
    expected: { outcome: 'permanent', blames: 'provider', errorCode: 'smtp_554' },
    says: ['refused the connection', '554 5.7.1', 'Your network is blocked'],
  },
  'has no capacity for connections': {
    script: { replies: { GREETING: '421 4.3.2 Try later' } },
    expected: { outcome: 'transient', blames: 'provider', errorCode: 'smtp_421' },
  },
  'closes the connection instead of a greeting': {
    script: { replies: { GREETING: CLOSE } },
    expected: { outcome: 'transient', blames: 'provider' },
  },
  'greets with garbage': {
    script: { replies: { GREETING: 'HTTP/1.1 400 Bad Request' } },
    expected: { outcome: 'transient', blames: 'provider', errorCode: 'smtp_eprotocol' },
  },
  'refuses EHLO and HELO': {
    script: { replies: { EHLO: '550 5.7.1 no', HELO: '550 5.7.1 Access denied' } },
    expected: { outcome: 'permanent', blames: 'provider', errorCode: 'smtp_550' },
    says: ['refused the connection'],
  },
  'refuses the login': {
    script: { ...TLS, replies: { AUTH: '535 5.7.8 Username and Password not accepted' } },
    settings: { ...REQUIRED, ...LOGIN },
    expected: { outcome: 'permanent', blames: 'provider', errorCode: 'smtp_535' },
    says: ['refused the login', '535 5.7.8', 'Username and Password not accepted', 'Check `user` and `password`'],
  },
  'cannot check logins at the moment': {
    script: { ...TLS, replies: { AUTH: '454 4.7.0 Temporary authentication failure' } },
    settings: { ...REQUIRED, ...LOGIN },
    expected: { outcome: 'transient', blames: 'provider', errorCode: 'smtp_454' },
  },
  'asks for TLS': {
    script: { replies: { MAIL: '530 5.7.0 Must issue a STARTTLS command first' } },
    expected: { outcome: 'permanent', blames: 'provider', errorCode: 'smtp_530' },
    says: ['refused the sender', 'Must issue a STARTTLS command first', 'set `tls` to `required`'],
  },
  'refuses the sender': {
    script: { replies: { MAIL: '550 5.1.1 <no-reply@vas.example>: Sender rejected' } },
    expected: { outcome: 'permanent', blames: 'provider', errorCode: 'smtp_550' },
    says: ['refused the sender: 550 5.1.1 [address]: Sender rejected.'],
  },
  'defers a recipient by greylisting': {
    script: { replies: { RCPT: '450 4.7.1 <anna.nguyen@example.com>: Greylisted, try again in 300 s' } },
    expected: { outcome: 'transient', blames: 'recipient', errorCode: 'smtp_450' },
    says: ['450 4.7.1 [address]: Greylisted, try again in 300 s.'],
  },
  'does not know the recipient': {
    script: {
      replies: { RCPT: '550-5.1.1 The account anna.nguyen does not\n550 5.1.1 exist. See https://x.example/?p=1' },
    },
    expected: { outcome: 'permanent', blames: 'recipient', errorCode: 'smtp_550', suppress: 'hard_bounce' },
    says: ['refused the recipient: 550 5.1.1 The account [address] does not exist. See https://x.example/'],
  },
  'refuses the recipient without an enhanced code': {
    script: { replies: { RCPT: '550 no' } },
    expected: { outcome: 'permanent', blames: 'recipient', errorCode: 'smtp_550' },
    says: ['refused the recipient: 550 no.'],
  },
  'refuses the recipient in a pipeline': {
    script: { extensions: ['PIPELINING'], replies: { RCPT: '550 5.1.1 no', DATA: '554 5.5.1 no valid recipients' } },
    expected: { outcome: 'permanent', blames: 'recipient', errorCode: 'smtp_550', suppress: 'hard_bounce' },
  },
  'has a full mailbox': {
    script: { replies: { RCPT: '452 4.2.2 Over quota' } },
    expected: { outcome: 'transient', blames: 'recipient', errorCode: 'smtp_452' },
  },
  'has a mailbox that is full for good': {
    script: { replies: { RCPT: '552 5.2.2 Over quota' } },
    expected: { outcome: 'permanent', blames: 'recipient', errorCode: 'smtp_552' },
  },
  'refuses DATA': {
    script: { replies: { DATA: '451 4.3.0 Try later' } },
    expected: { outcome: 'transient', errorCode: 'smtp_451' },
    says: ['refused the message'],
  },
  'finds the content too large': {
    script: { replies: { CONTENT: '552 5.3.4 Message size exceeds fixed limit' } },
    expected: { outcome: 'permanent', blames: 'message', errorCode: 'smtp_552' },
  },
  'refuses the content': {
    script: { replies: { CONTENT: '550 Spam detected' } },
    expected: { outcome: 'permanent', blames: 'message', errorCode: 'smtp_550' },
    says: ['refused the message: 550 Spam detected.'],
  },
  'ends the session after the content': {
    script: { replies: { CONTENT: '421 4.4.2 Shutting down' } },
    expected: { outcome: 'transient', blames: 'provider', errorCode: 'smtp_421' },
  },
  'announces a size that is too small': {
    script: { extensions: ['SIZE 100'] },
    expected: { outcome: 'permanent', blames: 'message', errorCode: 'smtp_message_too_large' },
    says: ['accepts 100'],
  },
  'refuses the envelope with an incomplete line and closes': {
    script: { lineBreak: '\n', replies: { MAIL: '451-4.3.0 multi\n451 4.3.0 line' } },
    expected: { outcome: 'transient', errorCode: 'smtp_451' },
    says: ['451 4.3.0 multi line'],
  },
};

describe.each(Object.entries(refusals))('a relay that %s', (_name, { script, settings, expected, says = [] }) => {
  it('gives a failure with its codes and its text', async () => {
    const result = await send(script, settings);
    expect(result).toMatchObject(expected);
    for (const part of says) expect(result).toHaveProperty('errorMessage', expect.stringContaining(part));
    expect(JSON.stringify(result)).not.toMatch(/anna|no-reply|hunter2/i);
    expect(relay.contents).toHaveLength(script.replies?.CONTENT === undefined ? 0 : 1);
  });
});

const before = ['GREETING', 'EHLO', 'MAIL', 'RCPT', 'DATA'] as const;

describe.each(before)('a relay that fails at %s', (step) => {
  it.each([
    ['closes the connection', CLOSE, LONG_MS],
    ['does not reply', HANG, VERY_SHORT_MS],
    ['replies without end', DRIP, VERY_SHORT_MS],
  ])('and %s gets no content, so the attempt is transient', async (_how, reply, timeoutMs) => {
    const result = await send({ replies: { [step]: reply } }, {}, { timeoutMs });
    expect(result).toMatchObject({ outcome: 'transient', blames: 'provider' });
    expect(relay.contents).toEqual([]);
  });
});

// A client that gets garbage instead of a reply to EHLO goes on with HELO.
describe.each(before.filter((step) => step !== 'EHLO'))('a relay that replies garbage at %s', (step) => {
  it('gets no content, so the attempt is transient', async () => {
    const result = await send({ replies: { [step]: 'what?' } });
    expect(result).toMatchObject({ outcome: 'transient', blames: 'provider', errorCode: 'smtp_eprotocol' });
    expect(relay.contents).toEqual([]);
  });
});

describe('a connection that is in use', () => {
  it.each([
    ['before the content', { RCPT: HANG }, 'transient'],
    ['after the content', { CONTENT: HANG }, 'unknown'],
  ] satisfies [string, RelayScript['replies'], string][])(
    'is freed for the next mail when the relay hangs %s',
    async (_when, replies, outcome) => {
      const one = { maxConnections: 1 };
      expect(await send({ replies }, one, { timeoutMs: SHORT_MS })).toMatchObject({ outcome });
      expect(await sendAgain(one, { timeoutMs: SHORT_MS })).toMatchObject({ outcome });
      expect(relay.connections).toBe(2);
    },
  );
});

describe('a relay that has the content', () => {
  it.each([
    ['closes the connection in the middle of it', { CHUNK: CLOSE }, LONG_MS],
    ['closes the connection after the final dot', { CONTENT: CLOSE }, LONG_MS],
    ['does not reply to the final dot', { CONTENT: HANG }, SHORT_MS],
    ['replies without end', { CONTENT: DRIP }, SHORT_MS],
    ['replies garbage', { CONTENT: 'what?' }, LONG_MS],
    ['replies with a code that makes no sense', { CONTENT: '354 go on' }, LONG_MS],
  ] satisfies [string, Partial<Record<Step, Reply>>, number][])(
    'and %s leaves the mail in doubt',
    async (_how, replies, timeoutMs) => {
      expect(await send({ replies }, {}, { timeoutMs })).toMatchObject({ outcome: 'unknown', blames: 'provider' });
      expect(relay.connections).toBe(1);
    },
  );

  it('gets the next mail over a new connection after it has closed the idle one', async () => {
    expect(await send({})).toMatchObject({ outcome: 'ok' });
    const idle = relay;
    await idle.close();
    relay = await startScriptedRelay({});
    expect(await sendAgain({ port: relay.port })).toMatchObject({ outcome: 'ok' });
  });
});

describe('a relay without STARTTLS', () => {
  it.each([
    ['offers nothing', {}],
    ['refuses the command', { replies: { STARTTLS: '502 5.5.1 no' } }],
    ['does not know EHLO', { replies: { EHLO: '502 5.5.1 no' } }],
  ])('and that %s gets neither login nor mail where a login is configured', async (_how, script) => {
    expect(await send({ extensions: ['AUTH PLAIN'], ...script }, LOGIN)).toMatchObject({
      outcome: 'permanent',
      blames: 'provider',
      errorCode: 'smtp_starttls_missing',
    });
    expect(verbs()).not.toContain('AUTH');
    expect(verbs()).not.toContain('MAIL');
  });

  it('gets neither login nor mail later when it cannot start TLS at the moment', async () => {
    const script = { ...TLS, replies: { STARTTLS: '454 4.7.0 TLS not available' } };
    expect(await send(script, LOGIN)).toMatchObject({ outcome: 'transient', errorCode: 'smtp_454' });
    expect(verbs()).not.toContain('AUTH');
    expect(verbs()).not.toContain('MAIL');
  });

  it('gets the mail where no login is configured', async () => {
    expect(await send({})).toMatchObject({ outcome: 'ok' });
    expect(verbs()).not.toContain('STARTTLS');
  });

  it('gets no mail with `required`, also without a login', async () => {
    expect(await send({}, { tls: 'required' })).toMatchObject({ errorCode: 'smtp_starttls_missing' });
    expect(verbs()).not.toContain('MAIL');
  });

  it('gets login and mail with `none`', async () => {
    expect(await send({ extensions: ['STARTTLS', 'AUTH PLAIN'] }, { ...LOGIN, tls: 'none' })).toMatchObject({
      outcome: 'ok',
    });
    expect(verbs()).toContain('AUTH');
    expect(verbs()).not.toContain('STARTTLS');
  });
});

describe('a relay with STARTTLS', () => {
  it('gets login and mail encrypted', async () => {
    expect(await send(TLS, { ...LOGIN, ca: authority.cert })).toMatchObject({ outcome: 'ok' });
    expect(relay.encrypted).toBe(1);
    expect(verbs()).toEqual(['EHLO', 'STARTTLS', 'EHLO', 'AUTH', 'MAIL', 'RCPT', 'DATA']);
  });

  it('is not believed in what it sends in plain text after its reply to STARTTLS', async () => {
    const injected = '220 2.0.0 ready\n250-relay.example\n250 SMTPUTF8';
    const script = { ...TLS, replies: { STARTTLS: injected } };
    const result = await send(script, REQUIRED, { address: 'đức@example.com' });
    expect(result).toMatchObject({ errorCode: 'smtp_smtputf8_missing' });
    expect(verbs()).not.toContain('MAIL');
  });

  it.each([
    ['self_signed', selfSigned, { ca: authority.cert }],
    ['expired', expired, { ca: authority.cert }],
    ['not_yet_valid', future, { ca: authority.cert }],
    ['host_mismatch', foreign, { ca: authority.cert }],
    ['untrusted', valid, {}],
  ])('and a certificate with the problem %s gets neither login nor mail, for good', async (reason, certificate, ca) => {
    for (const isImplicitTls of [false, true]) {
      const result = await send({ ...TLS, certificate, isImplicitTls }, { ...LOGIN, ...ca, secure: isImplicitTls });
      expect(result).toMatchObject({
        outcome: 'permanent',
        blames: 'provider',
        errorCode: `smtp_certificate_${reason}`,
      });
      expect(verbs()).not.toContain('AUTH');
      expect(verbs()).not.toContain('MAIL');
      if (!isImplicitTls) await Promise.all([provider.close(), relay.close()]);
    }
  });

  it('gets the mail with any certificate where nothing is required', async () => {
    expect(await send({ ...TLS, certificate: selfSigned })).toMatchObject({ outcome: 'ok' });
    expect(relay.encrypted).toBe(1);
  });

  it('gets the mail unencrypted where nothing is required and TLS fails', async () => {
    const { certificate: _none, ...broken } = TLS;
    expect(await send(broken)).toMatchObject({ outcome: 'ok' });
    expect(relay.encrypted).toBe(0);
    await Promise.all([provider.close(), relay.close()]);
    expect(await send({ ...TLS, replies: { STARTTLS: '454 4.7.0 no' } })).toMatchObject({ outcome: 'ok' });
  });

  it('gets neither login nor mail when the handshake fails and TLS is required', async () => {
    const { certificate: _none, ...broken } = TLS;
    expect(await send(broken, LOGIN)).toMatchObject({ outcome: 'transient', blames: 'provider' });
    expect(verbs()).toEqual(['EHLO', 'STARTTLS']);
  });
});

describe('implicit TLS', () => {
  it('encrypts from the first byte', async () => {
    const settings = { secure: true, ca: authority.cert, ...LOGIN };
    expect(await send({ ...TLS, isImplicitTls: true }, settings)).toMatchObject({ outcome: 'ok' });
    expect(relay.encrypted).toBe(1);
  });

  it('is transient when the relay drops the handshake', async () => {
    const result = await send({ isImplicitTls: true }, { secure: true });
    expect(result).toMatchObject({ outcome: 'transient', blames: 'provider' });
  });
});

describe('TLS settings', () => {
  it.each([
    [{ ca: 'not a certificate' }, 'ca'],
    [{ ca: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' }, '`ca` must contain certificates'],
    [{ tls: 'sometimes' }, 'tls'],
    [{ tls: 'none', ca: authority.cert }, '`ca` needs `tls` to be "required"'],
    [{ tls: 'none', secure: true }, '`tls` must not be "none" with implicit TLS'],
  ])('that contradict each other (%#) are refused', async (settings, problem) => {
    expect(await send({}, settings)).toMatchObject({
      errorCode: 'channel_misconfigured',
      errorMessage: expect.stringContaining(problem),
    });
    expect(relay.connections).toBe(0);
  });
});

describe('an address that is not ASCII', () => {
  it('with a Unicode mailbox is not sent to a relay without SMTPUTF8', async () => {
    expect(await send({}, {}, { address: 'đức@example.com' })).toMatchObject({
      outcome: 'permanent',
      blames: 'recipient',
      errorCode: 'smtp_smtputf8_missing',
    });
    expect(await sendAgain({ from: 'thông-báo@vas.example' })).toMatchObject({
      outcome: 'permanent',
      blames: 'provider',
      errorCode: 'smtp_smtputf8_missing',
    });
    expect(verbs()).not.toContain('MAIL');
  });

  it('with a Unicode mailbox is sent to a relay with SMTPUTF8', async () => {
    const script = { extensions: ['SMTPUTF8', '8BITMIME'] };
    expect(await send(script, {}, { address: 'đức@example.com' })).toMatchObject({ outcome: 'ok' });
    expect(relay.commands).toContain('RCPT TO:<đức@example.com>');
    expect(relay.commands.find((command) => command.startsWith('MAIL'))).toContain('SMTPUTF8');
  });

  it('with a Unicode domain is sent with an ASCII domain', async () => {
    expect(await send({}, { from: 'vas@việt.example' }, { address: 'anna@bücher.example' })).toMatchObject({
      outcome: 'ok',
    });
    expect(relay.commands).toContain('RCPT TO:<anna@xn--bcher-kva.example>');
    expect(relay.commands.find((command) => command.startsWith('MAIL'))).toContain('<vas@xn--vit-5kz.example>');
  });
});

describe('the provider message id', () => {
  it('is the queue id of the relay, or the Message-ID', async () => {
    expect(await send({})).toEqual({ outcome: 'ok', providerMessageId: '4TQX1Y2Z3w' });
    await Promise.all([provider.close(), relay.close()]);
    expect(await send({ replies: { CONTENT: '250 Great success' } })).toEqual({
      outcome: 'ok',
      providerMessageId: '<key-1@vas.example>',
    });
  });
});

describe('the record of the attempt', () => {
  it('is begun only when the relay has the envelope, and the content waits for it', async () => {
    const seen: string[][] = [];
    const result = await send(
      {},
      {},
      {
        begin: async () => {
          seen.push(verbs());
          expect(relay.contents).toEqual([]);
          return true;
        },
      },
    );
    expect(result).toMatchObject({ outcome: 'ok' });
    expect(seen).toHaveLength(1);
    expect(relay.contents).toHaveLength(1);
  });

  it('is not begun when there is no connection', async () => {
    let begun = 0;
    const begin = async (): Promise<boolean> => {
      begun += 1;
      return true;
    };
    expect(await send({ replies: { GREETING: '554 no' } }, {}, { begin })).toMatchObject({ outcome: 'permanent' });
    expect(begun).toBe(0);
  });

  it('keeps the content from being sent when it fails', async () => {
    const begin = async (): Promise<boolean> => false;
    expect(await send({}, {}, { begin })).toMatchObject({ errorCode: 'attempt_not_recorded' });
    expect(relay.contents).toEqual([]);
  });
});
