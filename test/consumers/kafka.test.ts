import { randomUUID } from 'node:crypto';
import { connect, createServer, type Server } from 'node:net';

import { CloudEvent, Kafka as KafkaBinding } from 'cloudevents';
import { type Admin, ConfigResourceTypes, Kafka, logLevel, type Message, type Producer } from 'kafkajs';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';

import { EVENT_TYPES } from '../../consumers/events/index.ts';
import { type KafkaConsumer, startKafkaConsumer } from '../../consumers/kafka.ts';
import { NotReadyError } from '../../src/observability/health.ts';
import { eventually } from '../support/eventually.ts';
import { describeWithKafka } from '../support/kafka-suite.ts';
import {
  activityEvent,
  postEvent,
  startTestService,
  type TestService,
  WELCOME_TEMPLATE,
  welcomeEvent,
} from '../support/service.ts';
import { sql } from '../support/sql.ts';

const V1 = 'notification.triggered.v1';
const V2 = 'notification.triggered.v2';
const ACTIVITY = 'signal.activity-notification';

type Json = Record<string, unknown>;

interface RejectedRow {
  tenant_id: string | null;
  event_type: string;
  reason: string;
  message: string;
  raw: Buffer;
  headers: Record<string, string>;
  source: string;
  topic: string;
  partition: number;
  offset: string;
}

describeWithKafka('events over Kafka', () => {
  const unique = randomUUID().slice(0, 8);
  const tenant = `tenant-kafka-${unique}`;
  const topic = `${V1}.${unique}`;
  const groupId = `group-${unique}`;
  let service: TestService;
  let kafka: Kafka;
  let admin: Admin;
  let producer: Producer;
  const consumers: KafkaConsumer[] = [];

  beforeAll(async () => {
    kafka = new Kafka({ brokers: [inject('kafkaBrokers')], logLevel: logLevel.NOTHING });
    admin = kafka.admin();
    producer = kafka.producer();
    await Promise.all([admin.connect(), producer.connect()]);
    await createTopics(topic, ...EVENT_TYPES.filter((type) => type !== V1));
    service = await startTestService({
      KAFKA_BROKERS: inject('kafkaBrokers'),
      KAFKA_GROUP_ID: groupId,
      PUBSUB_TOPIC: topic,
    });
    await service.core.templates.publish(tenant, [WELCOME_TEMPLATE], null);
    await eventually(async () => (await fetch(`${service.url}/readyz`)).status === 200, 'readiness');
  });
  afterAll(async () => {
    await Promise.all(consumers.map((consumer) => consumer.close()));
    await service?.close();
    await Promise.all([admin?.disconnect(), producer?.disconnect()]);
  });

  const createTopics = (...names: string[]) =>
    admin.createTopics({ topics: names.map((name) => ({ topic: name, numPartitions: name === topic ? 3 : 1 })) });
  const send = (to: string, messages: Message[]) => producer.send({ topic: to, messages });
  const asMessage = (event: unknown): Message => ({ value: JSON.stringify(event) });
  const welcome = (changes: Json = {}) => welcomeEvent(tenant, changes) as Json & { event_id: string };
  const welcomes = (count: number) => Array.from({ length: count }, () => welcome());

  const logs = (eventIds: unknown[]) =>
    sql<{ id: string; event_id: string; status: string; is_test: boolean; traceparent: string | null }>(
      service.databaseUrl,
      'select id, event_id, status, is_test, traceparent from notification_log where event_id = any($1::uuid[])',
      [eventIds],
    );
  const stored = (events: { event_id: string }[], what = 'all events in the log') =>
    eventually(async () => {
      const rows = await logs(events.map((event) => event.event_id));
      return rows.length === events.length && rows;
    }, what);
  const sent = (eventId: unknown) =>
    eventually(async () => {
      const [row] = await logs([eventId]);
      return row?.status === 'sent' && row;
    }, 'delivery');
  const captured = (logId: string) =>
    sql<{ subject: string }>(service.databaseUrl, 'select subject from sandbox_message where log_id = $1', [logId]);
  const rejectedFrom = (name: string) =>
    sql<RejectedRow>(service.databaseUrl, 'select * from rejected_event where topic = $1', [name]);

  /** Returns the committed offset of the group and the end offset of a topic, summed over all partitions. */
  async function progress(group: string, name: string): Promise<{ committed: number; end: number }> {
    const sum = (offsets: { offset: string }[]): number =>
      offsets.reduce((total, { offset }) => total + Math.max(0, Number(offset)), 0);
    const [offsets] = await admin.fetchOffsets({ groupId: group, topics: [name] });
    return { committed: sum(offsets?.partitions ?? []), end: sum(await admin.fetchTopicOffsets(name)) };
  }
  const committed = (group: string, name: string) =>
    eventually(async () => {
      const { committed: done, end } = await progress(group, name);
      return done === end && done;
    }, 'the committed offset at the end of the topic');

  /** Starts another consumer on the same database, which has its own log and can be stopped alone. */
  async function startConsumer(group: string, pubsubTopic: string, topicCheckMs = 10_000) {
    const lines: Json[] = [];
    const log = pino({ messageKey: 'message' }, { write: (line) => lines.push(JSON.parse(line) as Json) });
    const config = { brokers: [inject('kafkaBrokers')], groupId: group, ssl: false };
    const { intake } = service.core;
    const consumer = startKafkaConsumer({ config, pubsubTopic, intake, control: async () => {}, log, topicCheckMs });
    consumers.push(consumer);
    await eventually(
      () =>
        consumer.ping().then(
          () => true,
          (error: unknown) => error instanceof NotReadyError,
        ),
      'the consumer to start',
    );
    // Skips the messages of earlier tests in the shared topics.
    for (const type of EVENT_TYPES) if (type !== V1) await committed(group, type);
    const logged = (message: string) => eventually(() => lines.some((line) => line['message'] === message), message);
    return { ...consumer, logged };
  }
  /** Creates a topic with one partition, so that order and offsets are predictable. */
  async function ownTopic(): Promise<{ name: string; group: string }> {
    const id = randomUUID().slice(0, 8);
    await createTopics(`${V1}.${id}`);
    return { name: `${V1}.${id}`, group: `group-${id}` };
  }
  async function withoutDatabase(work: () => Promise<void>): Promise<void> {
    const name = new URL(service.databaseUrl).pathname.slice(1);
    const url = new URL(service.databaseUrl);
    url.pathname = '/postgres';
    await sql(url.href, `alter database ${name} allow_connections false`);
    try {
      await sql(url.href, 'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [name]);
      await work();
    } finally {
      await sql(url.href, `alter database ${name} allow_connections true`);
    }
  }

  it('of every type end in a delivery', async () => {
    const v1 = welcome();
    const { channel: _channel, ...v2 } = welcome({
      recipient: { email: 'student@example.edu.vn' },
      channels: ['email'],
    });
    const test = welcome();
    const people = activityEvent(tenant, ['anna', 'bình']);
    await send(topic, [asMessage(v1)]);
    await send(V2, [asMessage(v2)]);
    await send('notification.test.v1', [asMessage(test)]);
    await send(ACTIVITY, [asMessage(people)]);

    for (const [event, isTest] of [
      [v1, false],
      [v2, false],
      [test, true],
    ] as const) {
      const row = await sent(event['event_id']);
      expect(row.is_test).toBe(isTest);
      expect(await captured(row.id)).toEqual([{ subject: 'Chào mừng Nguyễn Văn A' }]);
    }
    const { id } = await sent(people.id);
    const inbox = 'select user_id from notification where log_id = $1 order by user_id';
    expect(await sql(service.databaseUrl, inbox, [id])).toEqual([{ user_id: 'anna' }, { user_id: 'bình' }]);
  });

  it('are all accepted between invalid ones, and each invalid one is stored with its reason', async () => {
    const good = Array.from({ length: 500 }, () => welcome({ event_code: 'no.template' }));
    const headers = { 'content-type': 'application/cloudevents+json' };
    const bad: [reason: string, message: Message][] = [
      ['malformed_event', { value: 'not JSON' }],
      ['malformed_event', { value: '' }],
      ['malformed_event', { value: null }],
      ['malformed_event', { value: Buffer.from([0x7b, 0xff, 0xfe, 0x7d]) }],
      ['malformed_event', { value: Buffer.alloc(1_000_000, 'noise ') }],
      ['malformed_event', { value: '[]', headers }],
      ['malformed_event', { value: JSON.stringify(welcome()), headers: { ce_type: V1, ce_specversion: '1.0' } }],
      ['validation_failed', { value: '[]' }],
      ['validation_failed', { value: 'null' }],
      ['validation_failed', { value: '['.repeat(10_000) + ']'.repeat(10_000) }],
      ['validation_failed', asMessage(welcome({ params: { a: '\u0000' } }))],
      ['validation_failed', asMessage(welcome({ params: { a: '\ud800' } }))],
      ['validation_failed', asMessage(welcome({ recipient: 1 }))],
      ['validation_failed', asMessage(welcome({ event_id: 'x' }))],
      ['validation_failed', asMessage(welcome({ created_at: '2016-12-31T23:59:60Z' }))],
      ['validation_failed', { value: '{}', headers: { x: `${'x'.repeat(1_999)}😀`, y: 'a\u0000b' } }],
      ['unsupported_version', asMessage(welcome({ version: '9' }))],
      ['unsupported_version', cloudEvent('structured', {}, { type: 'notification.triggered.v9' })],
      ['unsupported_type', cloudEvent('structured', {}, { type: 'notification.bulk.v1' })],
    ];
    const messages = good.map(asMessage);
    for (const [index, [, message]] of bad.entries()) messages.splice(index * 27, 0, message);
    const before = (await rejectedFrom(topic)).length;
    await send(topic, messages);

    await stored(good);
    const rows = await eventually(async () => {
      const found = await rejectedFrom(topic);
      return found.length - before === bad.length && found;
    }, 'all rejected events');
    await committed(groupId, topic);

    for (const [reason, { value }] of bad) {
      const raw = Buffer.from(value ?? '');
      const row = rows.find((candidate) => candidate.raw.equals(raw) && candidate.reason === reason);
      expect(row, `${reason}: ${raw.subarray(0, 80).toString()}`).toMatchObject({ source: 'kafka', topic });
      expect(row?.message).not.toBe('');
      expect(row?.partition).toBeTypeOf('number');
      expect(row?.offset).toMatch(/^\d+$/);
    }
    const positions = rows.map((row) => `${row.partition}/${row.offset}`);
    expect(new Set(positions).size).toBe(rows.length);
    expect(rows.find((row) => row.headers['x'])?.headers).toEqual({ x: 'x'.repeat(1_999) + '\ufffd', y: 'a\ufffdb' });
    expect(rows.find((row) => row.message.startsWith('version'))).toMatchObject({ tenant_id: tenant, event_type: V1 });
  });

  it.each(['gzip', 'snappy', 'lz4', 'zstd'])('are read from batches with the compression %s', async (codec) => {
    // The broker compresses the batches, so that its codecs are used instead of ours.
    const compressWith = (type: string) =>
      admin.alterConfigs({
        validateOnly: false,
        resources: [
          {
            type: ConfigResourceTypes.TOPIC,
            name: topic,
            configEntries: [{ name: 'compression.type', value: type }],
          },
        ],
      });
    // Several blocks of 64 KB in one batch.
    const events = welcomes(1_000);
    await compressWith(codec);
    await send(topic, events.map(asMessage));
    await compressWith('producer');
    expect(await stored(events)).toHaveLength(1_000);
  });

  it('are accepted as CloudEvents in binary and structured mode, for every type', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const one = welcome();
    const two = welcome();
    const three = welcome();
    await send(topic, [
      cloudEvent('binary', one, { traceparent }),
      cloudEvent('structured', two, { traceparent }),
      cloudEvent('structured', three, { type: 'notification.test.v1' }),
      { ...asMessage(welcome()), headers: { traceparent: 'broken' } },
    ]);
    await stored([one, two, three]);
    expect(await logs([one.event_id, two.event_id])).toMatchObject([{ traceparent }, { traceparent }]);
    expect(await logs([three.event_id])).toMatchObject([{ is_test: true }]);
  });

  it('are delivered once when they arrive 100 times over Kafka and HTTP at the same time', async () => {
    const event = welcome();
    const token = await service.token({ tenant_id: tenant, permissions: ['notif.ingest'] });
    const answers = await Promise.all([
      ...Array.from({ length: 50 }, () => postEvent(service, token, V1, event)),
      ...Array.from({ length: 10 }, () =>
        send(
          topic,
          Array.from({ length: 5 }, () => asMessage(event)),
        ),
      ),
    ]);
    await committed(groupId, topic);
    const { id } = await sent(event.event_id);
    expect(await logs([event.event_id])).toHaveLength(1);
    expect(await captured(id)).toHaveLength(1);
    const ids = answers.flatMap((answer) => ('body' in answer ? [answer.body.results[0]?.log_id] : []));
    expect(new Set(ids)).toEqual(new Set([id]));
  });

  it('of config.updated clear the cache of the tenant', async () => {
    const subjectNow = async (): Promise<string | undefined> => {
      const event = welcome();
      await send(topic, [asMessage(event)]);
      const { id } = await sent(event.event_id);
      return (await captured(id))[0]?.subject;
    };
    expect(await subjectNow()).toBe('Chào mừng Nguyễn Văn A');
    // Changes the database directly, so that the service does not notice.
    await sql(
      service.databaseUrl,
      `with version as (
         insert into notification_template_version (template_id, version, tenant_id, subject, body)
         select template_id, 2, tenant_id, 'Xin chào {{full_name}}', body from notification_template_version
         where tenant_id = $1)
       update notification_template set published_version = 2 where tenant_id = $1`,
      [tenant],
    );
    expect(await subjectNow()).toBe('Chào mừng Nguyễn Văn A');
    await send('config.updated', [asMessage({ tenant_id: 'tenant-other', at: '2025-06-14T07:32:00Z' })]);
    await committed(groupId, 'config.updated');
    expect(await subjectNow()).toBe('Chào mừng Nguyễn Văn A');
    await send('config.updated', [asMessage({ tenant_id: tenant, at: '2025-06-14T07:32:00Z' })]);
    await committed(groupId, 'config.updated');
    expect(await subjectNow()).toBe('Xin chào Nguyễn Văn A');
  });

  it('wait in Kafka during an outage of PostgreSQL: nothing is committed, and afterwards all are accepted', async () => {
    const { name, group } = await ownTopic();
    const consumer = await startConsumer(group, name);
    const first = welcomes(3);
    await send(name, first.map(asMessage));
    await stored(first);
    await committed(group, name);
    const events = welcomes(20);
    await withoutDatabase(async () => {
      await send(name, [...events.map(asMessage), { value: 'not JSON' }]);
      await consumer.logged('storing a batch failed, trying again');
      expect(await progress(group, name)).toEqual({ committed: 3, end: 24 });
    });
    await stored(events);
    await committed(group, name);
    expect(await rejectedFrom(name)).toMatchObject([{ offset: '23', reason: 'malformed_event' }]);
    await consumer.close();
  });

  it('of the current batch are stored and committed on shutdown, and messages that are read twice are stored once', async () => {
    const { name, group } = await ownTopic();
    const consumer = await startConsumer(group, name);
    const events = welcomes(10);
    const locker = new pg.Client({ connectionString: service.databaseUrl });
    await locker.connect();
    let closed: Promise<void>;
    try {
      await locker.query('begin; lock table notification_log in share mode');
      await send(name, [...events.map(asMessage), { value: 'not JSON' }]);
      const waiting = `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
        and query like '%insert into notification_log%'`;
      await eventually(
        async () => (await sql(service.databaseUrl, waiting)).length > 0,
        'the current batch to be stored',
      );
      closed = consumer.close();
    } finally {
      await locker.end();
    }
    await closed;
    expect(await logs(events.map((event) => event.event_id))).toHaveLength(10);
    expect(await progress(group, name)).toEqual({ committed: 11, end: 11 });
    expect((await admin.describeGroups([group])).groups[0]?.members).toEqual([]);

    // Resets the offsets, as if the process had died between storing and committing.
    await admin.deleteGroups([group]);
    const next = await startConsumer(group, name);
    await send(name, [asMessage(welcome())]);
    await committed(group, name);
    expect(await logs(events.map((event) => event.event_id))).toHaveLength(10);
    expect(await rejectedFrom(name)).toHaveLength(1);
    await next.close();
  });

  it('are distributed among the members of a group, and taken over from a member that leaves', async () => {
    const members = async () => (await admin.describeGroups([groupId])).groups[0]?.members.length;
    const events = welcomes(300);
    const messages = events.map(asMessage);
    await send(topic, messages.slice(0, 100));
    const second = await startConsumer(groupId, topic);
    expect(await members()).toBe(2);
    await send(topic, messages.slice(100, 200));
    await second.close();
    expect(await members()).toBe(1);
    await send(topic, messages.slice(200));
    await stored(events);
    await committed(groupId, topic);
  });

  it('are read from a topic that is created later, and from the others after one is deleted', async () => {
    const id = randomUUID().slice(0, 8);
    const name = `${V1}.${id}`;
    const group = `group-${id}`;
    const consumer = await startConsumer(group, name, 50);
    await createTopics(name);
    const first = welcomes(2);
    // A separate producer, because the shared one would keep requesting the deleted topic.
    const once = kafka.producer();
    await once.connect();
    await once.send({ topic: name, messages: first.map(asMessage) });
    await once.disconnect();
    expect(await stored(first)).toHaveLength(2);

    await admin.deleteTopics({ topics: [name] });
    const { channel: _channel, ...later } = welcome({ recipient: { email: 'later@example.edu.vn' } });
    await consumer.logged('consuming from Kafka failed');
    const { end } = await progress(group, V2);
    await send(V2, [asMessage(later)]);
    expect(await committed(group, V2)).toBe(end + 1);
    await consumer.close();
  });

  it('are not consumed while their topic does not exist: the service is not ready, and names the topic', async () => {
    const name = `${V1}.${randomUUID().slice(0, 8)}`;
    const other = await service.startAnother({
      KAFKA_BROKERS: inject('kafkaBrokers'),
      KAFKA_GROUP_ID: name,
      PUBSUB_TOPIC: name,
    });
    const readiness = async (): Promise<unknown> => (await fetch(`${other.url}/readyz`)).json();
    const missing = await eventually(async () => {
      const body = await readiness();
      return JSON.stringify(body).includes(name) && body;
    }, 'the name of the missing topic');
    expect(missing).toMatchObject({
      status: 'not_ready',
      missing: ['kafka'],
      checks: { database: 'ok', kafka: `topics do not exist: ${name}` },
    });

    await createTopics(name);
    await eventually(async () => (await fetch(`${other.url}/readyz`)).status === 200, 'readiness');
    await other.close();
  });

  it('are accepted over HTTP during an outage of the brokers: the service is not ready, and consumes again afterwards', async () => {
    const proxy = await brokerProxy();
    const { name } = await ownTopic();
    const other = await service.startAnother({
      KAFKA_BROKERS: proxy.address,
      KAFKA_GROUP_ID: name,
      PUBSUB_TOPIC: name,
    });
    const readiness = async () => {
      const response = await fetch(`${other.url}/readyz`);
      return { code: response.status, body: (await response.json()) as { missing: string[] } };
    };
    expect(await readiness()).toMatchObject({ code: 503, body: { missing: ['kafka'] } });
    const token = await service.token({ tenant_id: tenant, permissions: ['notif.ingest'] });
    expect((await postEvent(other, token, V1, welcome())).status).toBe(202);

    await proxy.open();
    await eventually(async () => (await readiness()).code === 200, 'readiness');
    const events = welcomes(1);
    await send(name, events.map(asMessage));
    await stored(events);
    await other.close();
    proxy.close();
  });
});

function cloudEvent(mode: 'binary' | 'structured', data: unknown, attributes: Json = {}): Message {
  const event = new CloudEvent({ type: V1, source: '/sale', data, ...attributes });
  const { headers, value } = KafkaBinding[mode](event) as { headers: Json; value: unknown };
  // The SDK also writes headers for missing attributes.
  const present = Object.entries(headers).flatMap(([name, text]) => (text === undefined ? [] : [[name, String(text)]]));
  return {
    headers: Object.fromEntries(present) as Record<string, string>,
    value: typeof value === 'string' ? value : JSON.stringify(value),
  };
}

/** Returns an address that is connected to the broker. */
async function brokerProxy(): Promise<{ address: string; open(): Promise<void>; close(): void }> {
  const [host, port] = inject('kafkaBrokers').split(':') as [string, string];
  const listen = (at: number): Promise<Server> =>
    new Promise((resolve) => {
      const server = createServer((socket) => {
        const onward = connect(Number(port), host);
        for (const end of [socket, onward]) end.on('error', () => {});
        socket.pipe(onward).pipe(socket);
      });
      server.listen(at, '127.0.0.1', () => resolve(server));
    });
  let server = await listen(0);
  const at = (server.address() as { port: number }).port;
  await new Promise((resolve) => server.close(resolve));
  return {
    address: `127.0.0.1:${at}`,
    open: async () => {
      server = await listen(at);
    },
    close: () => void server.close(),
  };
}
