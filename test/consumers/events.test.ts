import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { Ajv } from 'ajv';
import formats from 'ajv-formats';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { openBinary, openStructured, parseJson } from '../../consumers/envelope.ts';
import { EventRefused, type RawEvent } from '../../consumers/events/event.ts';
import { EVENT_TYPES, parseEvent } from '../../consumers/events/index.ts';
import type { NotificationCommand } from '../../src/intake/command.ts';
import { projectRoot } from '../../src/project-root.ts';
import { activityEvent, welcomeEvent } from '../support/service.ts';

const V1 = 'notification.triggered.v1';
const V2 = 'notification.triggered.v2';
const ACTIVITY = 'signal.activity-notification';
const TENANT = 'tenant-vas-001';

const raw = (type: string, payload: unknown, changes: Partial<RawEvent> = {}): RawEvent => ({
  type,
  payload,
  position: ['topic', 0, '1'],
  ...changes,
});
function command(type: string, payload: unknown, changes?: Partial<RawEvent>): NotificationCommand {
  const parsed = parseEvent(raw(type, payload, changes));
  if (parsed.kind !== 'command') throw new Error('expected a command');
  return parsed.command;
}
function refusal(type: string, payload: unknown): EventRefused {
  try {
    parseEvent(raw(type, payload));
  } catch (error) {
    if (error instanceof EventRefused) return error;
    throw error;
  }
  throw new Error('the event was not refused');
}
/** Rethrows unexpected errors, so that fast-check shows the input that caused them. */
function outcomeOf(work: () => unknown): 'taken' | 'refused' {
  try {
    work();
    return 'taken';
  } catch (error) {
    if (error instanceof EventRefused) return 'refused';
    throw error;
  }
}
/** The same notification as version 2. */
function asV2({ channel: _channel, recipient, ...event }: Record<string, unknown>): Record<string, unknown> {
  return { ...event, recipient: { email: recipient } };
}

describe('notification.triggered', () => {
  it('parses v1 and v2 of one notification into the same command, except for type and channels', () => {
    const event = welcomeEvent(TENANT, { from_the_future: { a: [1] } });
    const { eventType, channels, ...v1 } = command(V1, event);
    const { eventType: eventType2, channels: channels2, ...v2 } = command(V2, asV2(event));
    expect(v2).toEqual(v1);
    expect([eventType, channels]).toEqual([V1, ['email']]);
    expect([eventType2, channels2]).toEqual([V2, []]);
    expect(v1).toEqual({
      tenantId: TENANT,
      eventId: event['event_id'],
      eventCode: 'user.welcome',
      isTest: false,
      recipient: { email: 'student@example.edu.vn' },
      params: event['params'],
      priority: 'normal',
      traceId: 'x-trace-abc-789',
      triggerBy: 'admin_123',
      createdAt: new Date('2025-06-14T07:32:00Z'),
      extra: { from_the_future: { a: [1] } },
    });
  });

  it('reads all optional fields of v2', () => {
    expect(
      command(V2, {
        ...asV2(welcomeEvent(TENANT)),
        recipient: { user_id: 'u', email: 'a@b.example', phone: '+84912345678', locale: 'vi-VN', fax: '1' },
        channels: ['sms', 'email'],
        category: 'marketing',
        priority: 'low',
        send_at: '2030-01-01T00:00:00+07:00',
        expires_at: '2030-01-02T00:00:00Z',
        collapse_key: 'k',
        version: '2.1',
      }),
    ).toMatchObject({
      recipient: { user_id: 'u', email: 'a@b.example', phone: '+84912345678', locale: 'vi-VN', fax: '1' },
      channels: ['sms', 'email'],
      category: 'marketing',
      priority: 'low',
      sendAt: new Date('2029-12-31T17:00:00Z'),
      expiresAt: new Date('2030-01-02T00:00:00Z'),
      collapseKey: 'k',
    });
  });

  it('marks notification.test.v1 as a test and otherwise parses it like v1', () => {
    const event = welcomeEvent(TENANT);
    expect(command('notification.test.v1', event)).toEqual({
      ...command(V1, event),
      eventType: 'notification.test.v1',
      isTest: true,
    });
  });

  it.each(['event_id', 'tenant_id', 'event_code', 'channel', 'recipient', 'params', 'trace_id', 'created_at'])(
    'requires %s',
    (field) => {
      const { reason, fields } = refusal(V1, welcomeEvent(TENANT, { [field]: undefined }));
      // The validator treats a missing field and `undefined` the same.
      expect({ reason, fields }).toEqual({
        reason: 'validation_failed',
        fields: [{ path: field, message: 'is required' }],
      });
    },
  );

  it.each([
    [{ event_id: 'urn:uuid:3a36f1d4-8fa7-4704-a94e-4c55e9142cb3' }, 'event_id'],
    [{ tenant_id: 'a b' }, 'tenant_id'],
    [{ tenant_id: '' }, 'tenant_id'],
    [{ event_code: '../x' }, 'event_code'],
    [{ channel: 'fax' }, 'channel'],
    [{ params: [] }, 'params'],
    [{ params: 'x' }, 'params'],
    [{ created_at: '2016-12-31T23:59:60Z' }, 'created_at'],
    [{ created_at: '0000-12-31T00:00:00Z' }, 'created_at'],
    [{ created_at: '9999-12-31T23:59:59-01:00' }, 'created_at'],
    [{ created_at: '2025-06-14T07:32:00+07' }, 'created_at'],
    [{ created_at: '2025-02-30T00:00:00Z' }, 'created_at'],
    [{ created_at: 1_749_886_320 }, 'created_at'],
  ])('refuses %j', (changes, field) => {
    const { reason, fields } = refusal(V1, welcomeEvent(TENANT, changes));
    expect(reason).toBe('validation_failed');
    expect([...new Set(fields.map(({ path }) => path))]).toEqual([field]);
  });

  it.each([
    [V1, '1', true],
    [V1, 1, true],
    [V1, 'v1', true],
    [V1, '1.3', true],
    [V1, '2', false],
    [V1, 'latest', false],
    [V2, 2, true],
    [V2, 1, false],
  ])('%s with version %j is accepted: %s', (type, version, isAccepted) => {
    const event = { ...welcomeEvent(TENANT), version };
    const payload = type === V2 ? asV2(event) : event;
    const outcome = isAccepted ? command(type, payload).eventType : refusal(type, payload).reason;
    expect(outcome).toBe(isAccepted ? type : 'unsupported_version');
  });

  it('keeps a valid trace context and drops an invalid one', () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    expect(command(V1, welcomeEvent(TENANT), { traceparent }).traceparent).toBe(traceparent);
    expect(command(V1, welcomeEvent(TENANT), { traceparent: 'a\u0000b' })).not.toHaveProperty('traceparent');
  });
});

describe('recipient', () => {
  const accepted: [string, string][] = [
    ['email', 'a@b.vn'],
    ['email', "o'neill+tag@sub.example.co"],
    ['email', 'nguyễn@ví-dụ.vn'],
    ['sms', '+84912345678'],
    ['zalo', '+84912345678'],
    ['push', 'fcm:APA91b_x-y~z'],
    ['webhook', 'https://example.com/hook?a=1'],
    ['in_app', 'user-042'],
  ];
  it.each(accepted)('for %s accepts %s', (channel, recipient) => {
    expect(Object.values(command(V1, welcomeEvent(TENANT, { channel, recipient })).recipient)).toEqual([recipient]);
  });

  const refused: [string, string][] = [
    ['email', 'plainaddress'],
    ['email', 'a@b'],
    ['email', 'victim@example.com\r\nBcc: all@example.com'],
    ['email', 'victim@example.com\n'],
    ['email', 'one@example.com,two@example.com'],
    ['email', 'one@example.com;two@example.com'],
    ['email', 'one@example.com two@example.com'],
    ['email', 'friends:one@example.com,two@example.com;'],
    ['email', 'friends:one@example.com'],
    ['email', 'Name <one@example.com>'],
    ['email', '<one@example.com>'],
    ['email', '"a b"@example.com'],
    ['email', 'a(comment)@example.com'],
    ['email', 'a@b@example.com'],
    ['email', '@relay:a@example.com'],
    ['email', 'a@[127.0.0.1]'],
    ['email', '.a@example.com'],
    ['email', 'a..b@example.com'],
    ['email', 'a@-example.com'],
    ['email', `${'a'.repeat(65)}@example.com`],
    ['email', `a@${'b.'.repeat(130)}example.com`],
    ['sms', '0912345678'],
    ['sms', '+0912345678'],
    ['sms', '+84 912 345 678'],
    ['sms', '+8491234567890123'],
    ['sms', '+84912345678\n'],
    ['zalo', 'user'],
    ['push', 'two tokens'],
    ['push', 'tøken'],
    ['webhook', 'http://example.com/hook'],
    ['webhook', 'ftp://example.com'],
    ['webhook', 'javascript:alert(1)'],
    ['webhook', 'example.com'],
    ['webhook', 'https:example.com'],
    ['webhook', 'https://'],
    ['webhook', 'https://exam\nple.com/'],
    ['webhook', ' https://example.com/'],
    ['in_app', 'user\n042'],
    ['in_app', 'u'.repeat(256)],
  ];
  it.each(refused)('for %s refuses %j without repeating it in the message', (channel, recipient) => {
    const { reason, fields, message } = refusal(V1, welcomeEvent(TENANT, { channel, recipient }));
    expect(reason).toBe('validation_failed');
    expect(fields.map(({ path }) => path)).toEqual(['recipient']);
    expect(message).not.toContain(recipient);
  });

  it.each([
    ['email', { email: 'a@b.vn\r\nBcc: c@d.vn' }],
    ['phone', { phone: '0912345678' }],
    ['device_token', { device_token: 'a b' }],
    ['webhook_url', { webhook_url: 'http://a.example' }],
    ['user_id', { user_id: 'a\tb' }],
  ])('of v2 is validated in each address: %s', (field, address) => {
    // A valid address next to it does not help.
    const recipient = { user_id: 'u', email: 'a@b.vn', ...address };
    const { fields, message } = refusal(V2, { ...asV2(welcomeEvent(TENANT)), recipient });
    expect(fields.map(({ path }) => path)).toEqual([`recipient.${field}`]);
    for (const value of Object.values(address)) expect(message).not.toContain(value);
  });

  it('of v2 must have at least one address', () => {
    expect(refusal(V2, { ...asV2(welcomeEvent(TENANT)), recipient: { locale: 'vi' } }).reason).toBe(
      'validation_failed',
    );
  });
});

describe('signal.activity-notification', () => {
  it('is parsed into an in-app command with its content', () => {
    const event = activityEvent(TENANT, ['anna', 'bình', 'anna'], { new_field: 1 });
    expect(command(ACTIVITY, event)).toEqual({
      tenantId: TENANT,
      eventId: event.id,
      eventType: ACTIVITY,
      eventCode: 'payment.succeeded',
      isTest: false,
      channels: ['in_app'],
      recipient: {},
      audience: { scope: 'users', userIds: ['anna', 'bình'] },
      content: {
        type: 'payment.succeeded',
        title: event.title,
        body: event.body,
        data: { order_id: 1024 },
        actionUrl: '/orders/1024',
        actorId: 'user-042',
      },
      params: {},
      priority: 'normal',
      traceId: event.id,
      triggerBy: 'user-042',
      createdAt: new Date('2025-06-14T07:32:00Z'),
      extra: { new_field: 1 },
    });
  });

  it('accepts camelCase spellings of all names', () => {
    const event = activityEvent(TENANT, ['anna'], { category: 'payments', trace_id: 't' });
    const camel = Object.fromEntries(
      Object.entries(event).map(([name, value]) => [
        name.replaceAll(/_(.)/g, (_all, c: string) => c.toUpperCase()),
        value,
      ]),
    );
    expect(Object.keys(camel)).toContain('recipientScope');
    expect(command(ACTIVITY, camel)).toEqual(command(ACTIVITY, event));
    const { recipient_ids: _ids, ...rest } = event;
    for (const [scope, name] of [
      ['merchant', 'merchantId'],
      ['organization', 'organizationId'],
    ] as const) {
      expect(command(ACTIVITY, { ...rest, recipient_scope: scope, [name]: 'x' }).audience).toEqual({
        scope,
        scopeId: 'x',
      });
    }
  });

  it('refuses an action URL that runs a script', () => {
    for (const action_url of [
      'javascript:alert(1)',
      ' JavaScript:alert(1)',
      'java\tscript:alert(1)',
      '//evil.test',
      'data:text/html,x',
      'vbscript:x',
    ]) {
      expect(refusal(ACTIVITY, activityEvent(TENANT, ['anna'], { action_url })).message).toMatch(/^action_url /);
    }
    for (const action_url of ['/orders/1', 'https://pos.example/orders/1', 'app://orders/1', null]) {
      expect(command(ACTIVITY, activityEvent(TENANT, ['anna'], { action_url })).content).toBeDefined();
    }
  });

  it('without an id gets one from its position, which is the same on every read', () => {
    const { id: _id, ...event } = activityEvent(TENANT, ['anna']);
    const at = (...position: (string | number)[]) => command(ACTIVITY, event, { position }).eventId;
    expect(at('t', 0, '7')).toBe(at('t', 0, '7'));
    expect(new Set([at('t', 0, '7'), at('t', 0, '8'), at('t', 1, '7'), at('s', 0, '7')]).size).toBe(4);
    expect(at('t', 0, '7')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5/);
  });

  it('with an id that is not a UUID gets a UUID derived from it', () => {
    const event = activityEvent(TENANT, ['anna'], { id: 'order-1024' });
    const one = command(ACTIVITY, event, { position: ['t', 0, '1'] }).eventId;
    expect(one).toMatch(/^[0-9a-f-]{36}$/);
    expect(command(ACTIVITY, event, { position: ['t', 0, '2'] }).eventId).toBe(one);
    expect(command(ACTIVITY, { ...event, id: 'order-1025' }).eventId).not.toBe(one);
  });

  it.each([
    ['users', { recipient_ids: undefined }, 'recipient_ids'],
    ['users', { recipient_ids: [] }, 'recipient_ids'],
    ['merchant', {}, 'merchant_id'],
    ['merchant', { merchant_id: null }, 'merchant_id'],
    ['merchant', { organization_id: 'o' }, 'merchant_id'],
    ['organization', { merchant_id: 'm' }, 'organization_id'],
    ['everybody', {}, 'recipient_scope'],
  ])('with scope %s and %j is refused', (recipient_scope, changes, field) => {
    const { reason, fields } = refusal(ACTIVITY, activityEvent(TENANT, ['anna'], { recipient_scope, ...changes }));
    expect(reason).toBe('validation_failed');
    expect(fields.map(({ path }) => path)).toContain(field);
  });
});

describe('event', () => {
  it('of type config.updated is parsed to its tenant', () => {
    const payload = { tenant_id: TENANT, at: '2025-06-14T07:32:00Z' };
    expect(parseEvent(raw('config.updated', payload))).toEqual({ kind: 'config-updated', tenantId: TENANT });
    expect(refusal('config.updated', { tenant_id: TENANT }).reason).toBe('validation_failed');
  });

  it.each([
    ['notification.bulk.v1', 'unsupported_type'],
    ['notification.bulk.v2', 'unsupported_type'],
    ['constructor', 'unsupported_type'],
    ['', 'unsupported_type'],
    ['notification.triggered.v9', 'unsupported_version'],
    ['notification.triggered', 'unsupported_version'],
    ['notification.test.v2', 'unsupported_version'],
    ['config.updated.v2', 'unsupported_version'],
  ])('of type "%s" is refused as %s', (type, reason) => {
    expect(refusal(type, welcomeEvent(TENANT)).reason).toBe(reason);
  });

  const nested = (levels: number): unknown => JSON.parse('{"a":'.repeat(levels) + '1' + '}'.repeat(levels));
  it.each([
    ['NUL character', { a: 'x\u0000y' }],
    ['NUL character in a key', { 'x\u0000y': 1 }],
    ['lone surrogate', { a: ['\ud800'] }],
    ['lone surrogate in a key', { '\udc00': 1 }],
    ['100 levels of nesting', nested(100)],
    ['10 000 levels of nesting', nested(10_000)],
  ])('is refused with %s in its params or in an unknown field', (_name, value) => {
    for (const changes of [{ params: value }, { extra: value }]) {
      expect(refusal(V1, welcomeEvent(TENANT, changes)).reason).toBe('validation_failed');
    }
    expect(refusal(ACTIVITY, activityEvent(TENANT, ['anna'], { data: value })).reason).toBe('validation_failed');
  });

  it('may have 40 levels of nesting', () => {
    expect(command(V1, welcomeEvent(TENANT, { params: nested(40) })).params).toEqual(nested(40));
  });

  it('is either parsed or refused for every JSON value', () => {
    // Mutated valid events reach more code than random values.
    const good: Record<string, Record<string, unknown>> = {
      [V1]: welcomeEvent(TENANT),
      [V2]: asV2(welcomeEvent(TENANT)),
      'notification.test.v1': welcomeEvent(TENANT),
      [ACTIVITY]: activityEvent(TENANT, ['anna']),
      'config.updated': { tenant_id: TENANT, at: '2025-06-14T07:32:00Z' },
    };
    const spoiled = fc
      .constantFrom(...EVENT_TYPES)
      .chain((type) =>
        fc
          .dictionary(
            fc.constantFrom(...Object.keys(good[type] ?? {}), 'recipient_ids', 'version', 'x'),
            fc.jsonValue(),
          )
          .map((changes): [string, unknown] => [type, { ...good[type], ...changes }]),
      );
    const noise = fc.tuple(fc.oneof(fc.constantFrom(...EVENT_TYPES), fc.string()), fc.jsonValue());
    const outcomes = new Set<string>();
    fc.assert(
      fc.property(fc.oneof(spoiled, noise), ([type, payload]) => {
        outcomes.add(outcomeOf(() => parseEvent(raw(type, payload))));
      }),
      { numRuns: 2_000 },
    );
    // Both outcomes occurred, and no other.
    expect([...outcomes].toSorted()).toEqual(['refused', 'taken']);
  });
});

describe('envelope', () => {
  const attributes = { specversion: '1.0', id: '1', source: '/test', type: V1 };
  const binary = (headers: Record<string, string>) => openBinary({ headers, body: Buffer.from('{"a":1}') });
  const headers = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/test', 'ce-type': V1 };

  it('has the same type, payload, position and trace context in binary and structured mode', () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const event = { type: V1, payload: { a: 1 }, position: ['/test', '1'], traceparent };
    expect(openStructured({ ...attributes, traceparent, data: { a: 1 } })).toEqual(event);
    expect(openStructured({ ...attributes, traceparent, data_base64: 'eyJhIjoxfQ==' })).toEqual(event);
    expect(binary({ ...headers, 'ce-traceparent': traceparent, authorization: 'x' })).toEqual(event);
  });

  it.each(['specversion', 'id', 'source', 'type'])('without %s is refused', (name) => {
    expect(() => openStructured({ ...attributes, [name]: undefined })).toThrow(`${name} missing`);
    expect(() => openStructured({ ...attributes, [name]: 1 })).toThrow(`${name} missing`);
    const { [`ce-${name}` as 'ce-id']: _gone, ...rest } = headers;
    expect(() => binary(rest)).toThrow(`${name} missing`);
  });

  it('of another version or with invalid attributes is refused', () => {
    for (const changes of [{ specversion: '0.3' }, { time: 'noon' }, { trace_id: 'x' }]) {
      expect(() => openStructured({ ...attributes, ...changes, data: {} }), JSON.stringify(changes)).toThrow(
        EventRefused,
      );
    }
    for (const json of [null, 1, 'x', [], [attributes]]) expect(() => openStructured(json)).toThrow(EventRefused);
    expect(() => binary({ ...headers, 'ce-time': 'noon' })).toThrow(EventRefused);
  });

  it('with a body that is not JSON in UTF-8 is refused', () => {
    for (const bytes of ['', '{', '{"a":1}x', Buffer.from('{"a":"\xff"}', 'latin1'), Buffer.alloc(0)]) {
      expect(() => parseJson(Buffer.from(bytes))).toThrow(EventRefused);
    }
  });

  it('is either parsed or refused for every JSON value', () => {
    const outcomes = new Set<string>();
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (changes) => {
        outcomes.add(outcomeOf(() => openStructured({ ...attributes, ...changes })));
      }),
    );
    expect([...outcomes].toSorted()).toEqual(['refused', 'taken']);
  });
});

describe('the published JSON Schemas', () => {
  const directory = join(projectRoot, 'schema', 'events');
  const read = (file: string) => JSON.parse(readFileSync(join(directory, file), 'utf8')) as { $schema: string };
  const files = readdirSync(directory);

  it('exist for every supported type and for no other', () => {
    // Except the messages of the Redis channel, which are not events.
    const types = [...EVENT_TYPES, 'signal.emit'];
    expect(files.toSorted()).toEqual(types.map((type) => `${type}.schema.json`).toSorted());
  });

  it.each(files)('%s is valid draft-07', (file) => {
    const schema = read(file);
    expect(schema.$schema).toBe('http://json-schema.org/draft-07/schema#');
    expect(new Ajv().validateSchema(schema)).toBe(true);
  });

  it('accept the example of the specification', () => {
    const ajv = new Ajv({ allowUnionTypes: true });
    formats.default(ajv);
    // Specification, section 3.1
    const example: unknown = JSON.parse(`
      {"event_id":"3a36f1d4-8fa7-4704-a94e-4c55e9142cb3","tenant_id":"tenant-vas-001","event_code":"user.welcome",
       "channel":"email","recipient":"student@example.edu.vn",
       "params":{"full_name":"Nguyễn Văn A","first_login_at":"2025-06-01T10:00:00Z"},
       "trigger_by":"admin_123","trace_id":"x-trace-abc-789","created_at":"2025-06-14T07:32:00Z"}`);
    expect(ajv.validate(read(`${V1}.schema.json`), example)).toBe(true);
    expect(command(V1, example).tenantId).toBe('tenant-vas-001');
  });
});
