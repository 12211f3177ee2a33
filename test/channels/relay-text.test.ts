import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { queueIdOf } from '../../src/channels/queue-id.ts';
import { cleanRelayText } from '../../src/channels/relay-text.ts';
import { classifySmtpError } from '../../src/channels/smtp-failures.ts';

const ADDRESSES = ['no-reply@vas.example', 'anna.nguyen@example.com'];

describe('cleanRelayText', () => {
  it.each([
    ['550 5.1.1 <anna.nguyen@example.com>: User unknown', '[address]: User unknown'],
    ['550 5.1.1 User anna.nguyen is unknown', 'User [address] is unknown'],
    ['550 5.1.1 User ANNA.NGUYEN is unknown', 'User [address] is unknown'],
    ['550 no mailbox anna.nguyen@example.com here', 'no mailbox [address] here'],
    ['550 "anna nguyen"@example.com unknown', '[address] unknown'],
    ['550 "an\\"na"@example.com unknown', '[address] unknown'],
    ['550 đức@việt.example unknown', '[address] unknown'],
    ['550 other＠example.com unknown', '[address] unknown'],
    ['550 a+tag=x@[IPv6:2001:db8::1] unknown', '[address] unknown'],
    ['550 <@relay.example:other@example.com> unknown', '[address] unknown'],
    ['550 bounce+anna.nguyen=example.com@vas.example refused', '[address] refused'],
    ['550 other(at)example.com unknown', '[address] unknown'],
    ['550 other &#64; example.com unknown', '[address] unknown'],
    ['550 See https://x.example/why?e=other%40example.com now', 'See https://x.example/why now'],
    ['550 See https://x.example/why#other@example.com', 'See https://x.example/why'],
    ['550 See https://other:secret@x.example/why?a=b', 'See https://x.example/why'],
    ['550 See https://x.example/u/other%40example.com', 'See [address]'],
    ['550 See https://x.example/u/YW5uYS5uZ3V5ZW5AZXhhbXBsZS5jb20=', 'See https://x.example/u/[address]'],
    ['550 See mailto:other@example.com', 'See [address]'],
    ['550 /o=Org/ou=Group/cn=Recipients/cn=anna not found', '[address] not found'],
    ['550-5.7.1 first\n550-5.7.1 second\n550 5.7.1 third', 'first second third'],
    ['550-5.7.1 first\r\n550 5.7.1 second', 'first second'],
    ['550 a\u0000b\u0007c\u202ed\u200be\ud800f', 'a b c d e f'],
    ['550', ''],
    ['550 5.7.1', ''],
    ['452 4.2.2 Mailbox full', 'Mailbox full'],
  ])('turns %j into %j', (response, text) => {
    expect(cleanRelayText(response, ADDRESSES)).toBe(text);
  });

  it('keeps ordinary words of a local part that identifies nobody', () => {
    expect(cleanRelayText('550 5.1.1 User unknown', ['user@example.com'])).toBe('User unknown');
  });

  it('is short and quick for a reply of any size', () => {
    for (const part of ['x', 'x@', '"', '<', '%40', '@ ', 'a\n', '(at)']) {
      expect([...cleanRelayText(`550 ${part.repeat(500_000)}`, ADDRESSES)].length).toBeLessThanOrEqual(300);
    }
  });

  it('never contains an address, a control character or half a surrogate pair', () => {
    const word = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.constantFrom(...ADDRESSES, 'anna.nguyen', 'other@example.org', '<', '>', '"', '\n', '\r\n550-', ' '),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 30 }), (words) => {
        const text = cleanRelayText(`550 5.1.1 ${words.join('')}`, ADDRESSES);
        expect(text).not.toMatch(/@|\p{Cc}|\p{Cs}/u);
        expect(text).not.toMatch(/(?<![\p{L}\p{N}])anna\.nguyen(?![\p{L}\p{N}])/iu);
      }),
      { numRuns: 500 },
    );
  });
});

describe('queueIdOf', () => {
  it.each([
    ['250 2.0.0 Ok: queued as 4TQX1Y2Z3w', '4TQX1Y2Z3w'],
    ['250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as AB12CD', 'AB12CD'],
    ['250 Ok: queued as vQ5uXs-TQfmQ2bXj0bGz1w', 'vQ5uXs-TQfmQ2bXj0bGz1w'],
    ['250 2.0.0 Ok: queued as <20261130.1234@smtp-relay.example>', '20261130.1234@smtp-relay.example'],
    ['250 OK id=1sXyZ2-0001Ab-CD', '1sXyZ2-0001Ab-CD'],
    ['250 2.0.0 45AB12cd034567 Message accepted for delivery', '45AB12cd034567'],
    ['250 2.0.0 5d3f1c2a Message accepted for delivery', '5d3f1c2a'],
    [
      '250 2.6.0 <key@vas.example> [InternalId=1234567890, Hostname=mail.example] Queued mail for delivery',
      '1234567890',
    ],
    ['250 2.6.0 <key-1@vas.example> Queued mail for delivery', 'key-1@vas.example'],
    ['250 2.0.0 OK <AB1@host.prod.outlook.com> [Hostname=host.prod.outlook.com]', 'AB1@host.prod.outlook.com'],
    [
      '250 Ok 0102018c5c3c0a4f-11111111-2222-3333-4444-555555555555-000000',
      '0102018c5c3c0a4f-11111111-2222-3333-4444-555555555555-000000',
    ],
    ['250 2.0.0 OK  1764476000 d2e1a72fcca58-7aa1 - gsmtp', 'd2e1a72fcca58-7aa1'],
    ['250 Message Queued (0A1B2C3D-1111-2222-3333-444455556666.1)', '0A1B2C3D-1111-2222-3333-444455556666.1'],
    ['250 ok 1182362995 qp 21894', '1182362995 qp 21894'],
    ['250 ok:  Message 12345678 accepted', '12345678'],
    ['250 2.0.0 Message queued with id 1a2b3c4d.', '1a2b3c4d'],
    ['250-2.0.0 first\n250 2.0.0 Ok: queued as AB12CD', 'AB12CD'],
    ['250 Great success', undefined],
    ['250 Queued (0.031 seconds)', undefined],
    ['250 OK: message queued', undefined],
    ['250 2.0.0 OK', undefined],
    ['250', undefined],
    [`250 Ok: queued as ${'1'.repeat(1_000)}`, undefined],
  ])('finds in %j the id %j', (response, id) => {
    expect(queueIdOf(response)).toBe(id);
  });
});

describe('classifySmtpError', () => {
  const classify = (fields: object, isHandedOver = false) =>
    classifySmtpError(Object.assign(new Error('text of anna'), fields), { isHandedOver, addresses: ADDRESSES });

  it('classifies a lost connection as transient until transmission of the mail has started', () => {
    for (const code of ['ECONNECTION', 'ETIMEDOUT', 'ESOCKET', 'ECONNRESET']) {
      expect(classify({ code })).toMatchObject({ outcome: 'transient', blames: 'provider' });
      expect(classify({ code }, true)).toMatchObject({ outcome: 'unknown', blames: 'provider' });
    }
  });

  it('ignores an enhanced code of another class than the reply', () => {
    const failure = classify({ responseCode: 550, response: '550 4.2.1 no', command: 'RCPT TO' });
    expect(failure).toMatchObject({ outcome: 'permanent', errorMessage: expect.stringContaining('550 no') });
  });

  it('blames the provider, not the recipient, for a refusal before the recipient is named', () => {
    for (const command of ['CONN', 'EHLO', 'AUTH PLAIN', 'MAIL FROM']) {
      expect(classify({ responseCode: 550, response: '550 5.1.1 no', command })).toMatchObject({ blames: 'provider' });
    }
  });
});
