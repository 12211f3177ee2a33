import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Kafka, logLevel, type Producer } from 'kafkajs';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { EVENT_TYPES } from '../../consumers/events/index.ts';
import { type RunningKafka, startKafka } from '../services/kafka/kafka.ts';
import { type ChildService, startChild } from '../support/child.ts';
import { eventually } from '../support/eventually.ts';
import { describeWithKafka } from '../support/kafka-suite.ts';
import { startTestService, type TestService, welcomeEvent } from '../support/service.ts';
import { sql } from '../support/sql.ts';

const TENANT = 'tenant-secure';
const TOPIC = 'notification.triggered.v1';
const USER = { username: 'notification', password: 'correct-horse-battery' };

describeWithKafka('events over a Kafka that asks for TLS and a login', () => {
  let broker: RunningKafka;
  let service: TestService;
  let producer: Producer;
  let directory: string;
  let env: Record<string, string>;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kafka-secure-'));
    // In hold mode. It provides the database of the consuming services.
    [broker, service] = await Promise.all([startKafka({ secure: USER }), startTestService({ DELIVERY_MODE: 'hold' })]);
    const caPath = join(directory, 'ca.pem');
    await writeFile(caPath, broker.ca as string);
    env = {
      KAFKA_BROKERS: broker.brokers,
      KAFKA_SSL: 'true',
      KAFKA_SSL_CA_PATH: caPath,
      KAFKA_USERNAME: USER.username,
      KAFKA_PASSWORD: USER.password,
    };
    const kafka = new Kafka({
      brokers: [broker.brokers],
      ssl: { ca: [broker.ca as string] },
      sasl: { mechanism: 'plain', ...USER },
      logLevel: logLevel.NOTHING,
    });
    producer = kafka.producer();
    const admin = kafka.admin();
    await Promise.all([admin.connect(), producer.connect()]);
    await admin.createTopics({ topics: EVENT_TYPES.map((topic) => ({ topic, numPartitions: 1 })) });
    await admin.disconnect();
  });
  afterAll(async () => {
    await producer?.disconnect();
    await service?.close();
    await broker?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  const readiness = async (url: string): Promise<unknown> => (await fetch(`${url}/readyz`)).json();

  it.each(['plain', 'scram-sha-256', 'scram-sha-512'])('are accepted after a login with %s', async (mechanism) => {
    const consuming = await service.startAnother({
      ...env,
      KAFKA_SASL_MECHANISM: mechanism,
      KAFKA_GROUP_ID: `group-${mechanism}`,
    });
    const event = welcomeEvent(TENANT, { event_id: randomUUID() });
    await producer.send({ topic: TOPIC, messages: [{ value: JSON.stringify(event) }] });
    const rows = await eventually(async () => {
      const found = await sql(service.databaseUrl, 'select status from notification_log where event_id = $1', [
        event['event_id'],
      ]);
      return found.length > 0 && found;
    }, 'the event in notification_log');
    expect(rows).toEqual([{ status: 'queued' }]);
    expect(await readiness(consuming.url)).toMatchObject({ status: 'ready', checks: { kafka: 'ok' } });
    await consuming.close();
  });

  /** Starts a service in a separate process and collects its log. */
  const start = (overrides: Record<string, string>): Promise<ChildService> =>
    startChild({ ...service.env, LOG_LEVEL: 'trace', ...overrides });
  const refusalIn = async (child: ChildService): Promise<string> =>
    JSON.stringify(
      await eventually(
        () => child.lines.find((line) => line['message'] === 'starting the Kafka consumer failed, trying again'),
        'the refused connection in the log',
      ),
    );

  it('are not consumed with a wrong password: the service is alive but not ready, and its log contains no secret', async () => {
    const wrong = 'wrong-horse-battery';
    const child = await start({ ...env, KAFKA_SASL_MECHANISM: 'scram-sha-512', KAFKA_PASSWORD: wrong });
    expect(await refusalIn(child)).toContain('SASL SCRAM SHA512 authentication failed');
    expect(await readiness(child.url)).toMatchObject({ status: 'not_ready', missing: ['kafka'] });
    expect((await fetch(`${child.url}/healthz`)).status).toBe(200);
    await child.kill('SIGTERM');
    const log = JSON.stringify(child.lines);
    for (const secret of [wrong, USER.password, Buffer.from(wrong).toString('base64')])
      expect(log).not.toContain(secret);
  });

  it('are not consumed when the certificate is not trusted', async () => {
    const { KAFKA_SSL_CA_PATH: _path, ...untrusting } = env;
    const child = await start({ ...untrusting, KAFKA_SASL_MECHANISM: 'plain' });
    expect(await refusalIn(child)).toContain('self-signed certificate');
    expect(await readiness(child.url)).toMatchObject({ status: 'not_ready', missing: ['kafka'] });
    await child.kill('SIGTERM');
    expect(JSON.stringify(child.lines)).not.toContain(USER.password);
  });
});
