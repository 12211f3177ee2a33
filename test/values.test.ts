import { randomUUID } from 'node:crypto';

import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';

import { PublishTemplateDocument } from './generated/operations.ts';
import { messageInput } from '../consumers/kafka-messages.ts';
import { query } from './support/client.ts';
import { eventually } from './support/eventually.ts';
import { settled } from './support/graph-seed.ts';
import {
  activityEvent,
  type EventAnswer,
  startTestService,
  type TestService,
  welcomeEvent,
} from './support/service.ts';
import { connectSocket } from './support/socket-client.ts';
import { sql } from './support/sql.ts';

const TENANT = 'tenant-values';
const PERMISSIONS = [
  'notif.ingest',
  'notif.read.log',
  'notif.read.recipient',
  'notif.read.template',
  'notif.write.template',
  'notif.send.test',
  'notif.write.config',
  'notif.replay',
];
/** The digits of each are lost when a double holds the number. */
const NUMBERS = '{"id":12345678901234567890,"price":1.10,"rate":0.12345678901234567890,"list":[9007199254740993,5.0]}';
/** `jsonb` sorts keys by their length. */
const STORED = '{"id":12345678901234567890,"list":[9007199254740993,5.0],"rate":0.12345678901234567890,"price":1.10}';
const BODY =
  '{{id}} {{price}} {{rate}} {{#each list}}{{this}} {{/each}}{{formatNumber id}} {{formatMoney id currency="USD"}}';
const TEXT =
  '12345678901234567890 1.10 0.12345678901234567890 9007199254740993 5.0 ' +
  '12,345,678,901,234,567,890 $12,345,678,901,234,567,890.00';

/** JSON of an event whose `params` or `data` are the numbers. `JSON.stringify` would round them. */
const withNumbers = (event: object): string => JSON.stringify(event).replace('"NUMBERS"', NUMBERS);

describe('numbers of an event', () => {
  let service: TestService;
  let admin: string;
  let anna: string;
  beforeAll(async () => {
    service = await startTestService({ REDIS_URL: inject('redisUrl') });
    admin = await service.token({ tenant_id: TENANT, sub: 'admin', permissions: PERMISSIONS });
    anna = await service.token({ tenant_id: TENANT, sub: 'anna' });
    await service.core.templates.publish(
      TENANT,
      [
        { eventCode: 'user.welcome', channel: 'email', locale: 'en', subject: 'No. {{id}}', body: BODY },
        { eventCode: 'user.welcome', channel: 'in_app', locale: 'en', body: BODY },
      ],
      null,
    );
  });
  afterAll(() => service.close());

  const post = async (body: string, headers: Record<string, string>) => {
    const response = await fetch(`${service.url}/events`, {
      method: 'POST',
      headers: { authorization: `Bearer ${admin}`, ...headers },
      body,
    });
    return { status: response.status, answer: (await response.json()) as EventAnswer };
  };
  const accepted = async (body: string, headers: Record<string, string>): Promise<string> => {
    const { answer } = await post(body, headers);
    const id = answer.results[0]?.log_id;
    if (id === undefined) throw new Error(JSON.stringify(answer));
    await settled(service.databaseUrl, [id]);
    return id;
  };
  const captured = async (logId: string) =>
    (
      await sql<{ subject: string; text: string }>(
        service.databaseUrl,
        'select subject, text from sandbox_message where log_id = $1',
        [logId],
      )
    )[0];
  /** Returns the bytes of a response, because `JSON.parse` would round its numbers. */
  const graphql = async (document: string, variables = '{}', token = admin): Promise<string> => {
    const response = await fetch(`${service.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: `{"query": ${JSON.stringify(document)}, "variables": ${variables}}`,
    });
    return response.text();
  };
  /** Subscribes as Anna. `received` has the texts of all messages. */
  const listen = async (document: string) => {
    const client = await connectSocket(service.url, anna);
    const received: string[] = [];
    client.ws.on('message', (message: Buffer) => received.push(message.toString()));
    client.subscribe('1', document);
    // The answer to a later query shows that the subscription has started.
    client.subscribe('2', '{ unreadNotificationCount }');
    await eventually(() => received.find((message) => message.includes('unreadNotificationCount')));
    return { ws: client.ws, received };
  };
  const cloudEvent = (type: string, data: object, changes: object = {}): string =>
    withNumbers({ specversion: '1.0', id: randomUUID(), source: '/test', type, data, ...changes });
  const welcome = (changes: object = {}) => welcomeEvent(TENANT, { params: 'NUMBERS', ...changes });

  it.each([
    [
      'structured',
      (type: string, data: object) => [cloudEvent(type, data), { 'content-type': 'application/cloudevents+json' }],
    ],
    [
      'batch',
      (type: string, data: object) => [
        `[${cloudEvent(type, data)}]`,
        { 'content-type': 'application/cloudevents-batch+json' },
      ],
    ],
    [
      'base64',
      (type: string, data: object) => [
        cloudEvent(type, {}, { data: undefined, data_base64: Buffer.from(withNumbers(data)).toString('base64') }),
        { 'content-type': 'application/cloudevents+json' },
      ],
    ],
    [
      'binary',
      (type: string, data: object) => [
        withNumbers(data),
        {
          'content-type': 'application/json',
          'ce-specversion': '1.0',
          'ce-id': randomUUID(),
          'ce-source': '/test',
          'ce-type': type,
        },
      ],
    ],
  ] satisfies [string, (type: string, data: object) => [string, Record<string, string>]][])(
    'reach the mail as they were sent, from a CloudEvent in %s mode',
    async (_mode, build) => {
      for (const type of ['notification.triggered.v1', 'notification.triggered.v2', 'notification.test.v1']) {
        const { channel, recipient, ...event } = welcome();
        const data = type.endsWith('v2')
          ? { ...event, recipient: { email: recipient } }
          : { ...event, channel, recipient };
        const [body, headers] = build(type, { ...data, from_the_future: 1 });
        const logId = await accepted(body, headers);
        expect(await captured(logId)).toEqual({ subject: 'No. 12345678901234567890', text: TEXT });
        const log = await graphql(`{ notificationLog(id: "${logId}") { params } }`);
        expect(log).toBe(`{"data":{"notificationLog":{"params":${STORED}}}}`);
      }
    },
  );

  it('reach the data of the inbox: over HTTP and WebSocket', async () => {
    const { ws, received } = await listen('subscription { inboxChanged { notification { data } } }');
    const event = activityEvent(TENANT, ['anna'], { data: 'NUMBERS' });
    await accepted(cloudEvent('signal.activity-notification', event), {
      'content-type': 'application/cloudevents+json',
    });
    await eventually(() => received.find((message) => message.includes(`"data":${STORED}`)));
    // The fourth time, the query is compiled.
    for (let time = 0; time < 5; time += 1) {
      expect(await graphql('{ notifications { edges { node { data } } } }', '{}', anna)).toContain(
        `{"data":${STORED}}`,
      );
    }
    ws.terminate();
  });

  it('reach the subscribers of a topic', async () => {
    const { ws, received } = await listen('subscription { topicMessage(topic: "rates") { data } }');
    const redis = new Redis(inject('redisUrl'));
    const message = await eventually(async () => {
      await redis.publish('signal:emit', `{"topic":"rates","data":${NUMBERS},"destination":{"tenant":"${TENANT}"}}`);
      return received.find((text) => text.includes('topicMessage'));
    });
    expect(message).toContain(`"data":${NUMBERS}`);
    redis.disconnect();
    ws.terminate();
  });

  it('of sendTestNotification and previewTemplate are kept, as literals and as variables', async () => {
    const literal = NUMBERS.replaceAll(/"(\w+)":/g, '$1:');
    const send = (params: string, variables?: string, definition = '') =>
      graphql(
        `mutation ${definition} { sendTestNotification(input: {eventCode: "user.welcome", channel: EMAIL, recipient: "a@example.com", params: ${params}}) { id } }`,
        variables,
      );
    for (const answer of [await send(literal), await send('$p', `{"p": ${NUMBERS}}`, '($p: JSONObject!)')]) {
      const id = /"id":"([^"]+)"/.exec(answer)?.[1] as string;
      await settled(service.databaseUrl, [id]);
      expect(await captured(id)).toMatchObject({ text: TEXT });
    }
    const preview =
      'query ($input: PreviewTemplateInput!) { previewTemplate(input: $input) { text missingVariables } }';
    const input = `{"input": {"channel": "SMS", "body": ${JSON.stringify(`${BODY}{{other}}`)}, "params": ${NUMBERS}, "version": 1.0}}`;
    const expected = `{"data":{"previewTemplate":{"text":${JSON.stringify(`${TEXT}«other»`)},"missingVariables":["other"]}}}`;
    expect(await graphql(preview, input)).toBe(expected);
    const search = new URLSearchParams({ query: preview, variables: input });
    const got = await fetch(`${service.url}/graphql?${search}`, {
      headers: { authorization: `Bearer ${admin}`, 'apollo-require-preflight': '1' },
    });
    expect(await got.text()).toBe(expected);
  });

  it('of the default params of a template are kept, through drafts and publication', async () => {
    const create = `mutation ($input: CreateNotificationTemplateInput!) {
      createNotificationTemplate(input: $input) { id versions { defaultParams } } }`;
    const input = `{"input": {"eventCode": "defaults", "channel": "EMAIL", "locale": "en", "subject": "s", "body": ${JSON.stringify(BODY)}, "defaultParams": ${NUMBERS}}}`;
    const created = await graphql(create, input);
    expect(created).toContain(`"defaultParams":${STORED}`);
    const id = /"id":"([^"]+)"/.exec(created)?.[1] as string;
    // A new draft without changes keeps the params that were read from the database.
    expect(
      await graphql(`mutation { updateNotificationTemplate(input: {id: "${id}", subject: "t"}) { id } }`),
    ).toContain(id);
    await query(service.url, admin, PublishTemplateDocument, { id, version: 2 });
    const answer = await graphql(`{ notificationTemplate(id: "${id}") { defaultParams } }`);
    expect(answer).toContain(STORED);
    const logId = await accepted(
      cloudEvent('notification.triggered.v1', welcome({ event_code: 'defaults', params: {} })),
      {
        'content-type': 'application/cloudevents+json',
      },
    );
    expect(await captured(logId)).toEqual({ subject: 't', text: TEXT });
  });

  it('of settings are numbers of JavaScript', async () => {
    const answer = await graphql(
      'mutation { updateTenantSettings(input: {limits: {ratePerSecond: 50.50, concurrency: 10.0}}) { limits } }',
    );
    expect(answer).toContain('{"concurrency":10,"ratePerSecond":50.5}');
  });

  it('that are too long are refused with their path, and the event can be replayed', async () => {
    const event = cloudEvent('notification.triggered.v1', welcome()).replace('1.10', '1e999999');
    const { status, answer } = await post(event, { 'content-type': 'application/cloudevents+json' });
    expect(status).toBe(400);
    expect(answer.results[0]).toMatchObject({
      error_code: 'validation_failed',
      message: 'params.price is a number with more than 1000 digits',
    });
    expect(
      await graphql(
        'mutation { sendTestNotification(input: {eventCode: "user.welcome", channel: EMAIL, recipient: "a@example.com", params: {n: 1e999999}}) { id } }',
      ),
    ).toContain('input.params.n');
  });

  it('keep their digits in a Kafka message', () => {
    const value = Buffer.from(withNumbers(welcome()));
    const message = { value, headers: {}, offset: '1', key: null, timestamp: '', attributes: 0 };
    const input = messageInput(message, { topic: 't', partition: 0, type: 'notification.triggered.v1' });
    expect(input.kind === 'command' && JSON.stringify(input.command.params)).toBe(NUMBERS);
  });

  it('in the place of another type are refused', async () => {
    for (const [field, value] of [
      ['params', '1.10'],
      ['recipient', '12345678901234567890'],
      ['created_at', '1.10'],
      ['event_id', '1.10'],
    ] as const) {
      const event = cloudEvent('notification.triggered.v1', welcome({ [field]: 'HERE' })).replace('"HERE"', value);
      const { status, answer } = await post(event, { 'content-type': 'application/cloudevents+json' });
      expect([field, status, answer.results[0]?.message]).toEqual([
        field,
        400,
        expect.stringContaining(`${field} must`),
      ]);
    }
    const versioned = cloudEvent('notification.triggered.v1', welcome({ version: 'HERE' })).replace('"HERE"', '1.0');
    expect((await post(versioned, { 'content-type': 'application/cloudevents+json' })).status).toBe(202);
  });

  it.each([
    '2026-02-29T10:00:00Z',
    '2026-13-01T10:00:00Z',
    '2026-04-31T10:00:00Z',
    '2026-01-01T24:00:00Z',
    '2016-12-31T23:59:60Z',
    '2026-01-01',
  ])('a time that does not exist is refused in events and GraphQL: %s', async (time) => {
    for (const field of ['created_at', 'send_at', 'expires_at']) {
      const { channel: _channel, ...event } = welcomeEvent(TENANT, { recipient: { email: 'a@example.com' } });
      const body = cloudEvent('notification.triggered.v2', { ...event, [field]: time });
      const { status, answer } = await post(body, { 'content-type': 'application/cloudevents+json' });
      expect([field, status, answer.results[0]?.message]).toEqual([field, 400, expect.stringContaining(field)]);
    }
    const list = 'notificationLogs(filter: {createdAfter: ';
    const literal = await graphql(`{ ${list}"${time}"}) { edges { cursor } } }`);
    const variable = await graphql(`query ($at: DateTime) { ${list}$at}) { edges { cursor } } }`, `{"at": "${time}"}`);
    for (const answer of [literal, variable]) expect(answer).toContain(`DateTime cannot represent`);
  });
});
