import { parseArgs } from 'node:util';

import { Kafka, logLevel, type Producer } from 'kafkajs';

import { startKafka } from '../services/kafka/kafka.ts';
import { providePostgres } from '../services/postgres.ts';
import { provideRedis } from '../services/redis.ts';
import { type ChildService, startChild } from '../support/child.ts';
import { eventually } from '../support/eventually.ts';
import { startLeanSmtp } from '../support/lean-smtp.ts';
import { loadEvent, postUntilAccepted, setUpLoad, tally } from '../support/load.ts';
import { sql } from '../support/sql.ts';
import { tcpProxy } from '../support/tcp-proxy.ts';

// npm run test:faults -- --seconds 30 --rate 150 --joins 20 --malformed 10000
//
// Events arrive at a steady rate over HTTP and Kafka while one part after another fails and recovers. No event may be
// lost, and the backlog must be processed within a minute, without a manual restart.

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '30' },
    rate: { type: 'string', default: '150' },
    joins: { type: 'string', default: '20' },
    malformed: { type: 'string', default: '10000' },
  },
});
const outageMs = Number(values.seconds) * 1_000;
const rate = Number(values.rate);
const BACKLOG_LIMIT_MS = 60_000;
const STALL_LIMIT_MS = 1_000;
const TOPIC = 'notification.triggered.v1';

const [postgres, redis, kafka, relay] = await Promise.all([
  providePostgres(),
  provideRedis(),
  startKafka(),
  startLeanSmtp(),
]);
const setup = await setUpLoad(postgres.url);
/** Closes the service's connection to a server without stopping the server, which others may use. */
const proxyTo = (url: string, port: number) => tcpProxy(new URL(url).hostname, Number(new URL(url).port || port));
const [postgresProxy, redisProxy] = await Promise.all([proxyTo(postgres.url, 5432), proxyTo(redis.url, 6379)]);
const databaseUrl = new URL(setup.databaseUrl);
databaseUrl.hostname = '127.0.0.1';
databaseUrl.port = String(postgresProxy.port);

const client = new Kafka({
  brokers: [kafka.brokers],
  logLevel: logLevel.NOTHING,
  requestTimeout: 5_000,
  retry: { retries: 100, maxRetryTime: 1_000 },
});
const admin = client.admin();
await admin.connect();
await admin.createTopics({ topics: [{ topic: TOPIC, numPartitions: 3 }] });
const producer: Producer = client.producer();
await producer.connect();

const env = {
  ...setup.env,
  DATABASE_URL: databaseUrl.href,
  REDIS_URL: `redis://127.0.0.1:${redisProxy.port}`,
  KAFKA_BROKERS: kafka.brokers,
  SMTP_PROVIDER_SECRET: `smtp://127.0.0.1:${relay.port}?from=load@vas.example`,
};
const children: ChildService[] = [await startChild(env), await startChild(env)];
/**
 * Number of processes that exited before the end. Any makes the test fail, because a service must survive each fault.
 */
let died = 0;
let isOver = false;
for (const child of children) void child.exited.finally(() => (died += isOver ? 0 : 1));

let number = 0;
let mails = 0;
const nextEvents = (count: number): Record<string, unknown>[] =>
  Array.from({ length: count }, () => {
    number += 1;
    if (number % 4 !== 3) mails += 1;
    return loadEvent(number % 4 === 3 ? 'in_app' : 'email', number);
  });

/** Sends events at a steady rate until `done` resolves, and waits until all are accepted. */
async function underLoad(done: Promise<void>): Promise<{ sent: number; overAt: number }> {
  const sending: Promise<unknown>[] = [];
  let isDone = false;
  const ended = done.finally(() => (isDone = true));
  let sent = 0;
  const TICK_MS = 200;
  while (!isDone) {
    const events = nextEvents(Math.ceil((rate * TICK_MS) / 1_000));
    const half = Math.ceil(events.length / 2);
    sent += events.length;
    sending.push(
      postUntilAccepted(() => children, setup.producerToken, events.slice(0, half)),
      producer.send({ topic: TOPIC, messages: events.slice(half).map((event) => ({ value: JSON.stringify(event) })) }),
    );
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  const overAt = performance.now();
  await Promise.race([
    Promise.all([ended, ...sending]),
    pause(BACKLOG_LIMIT_MS * 2).then(() =>
      Promise.reject(new Error('not all events were accepted after the fault had ended')),
    ),
  ]);
  return { sent, overAt };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Result {
  fault: string;
  events: number;
  lost: number;
  backlogSeconds: number;
  isGood: boolean;
}
const results: Result[] = [];

async function scenario(fault: string, run: () => Promise<void>): Promise<void> {
  const before = await tally(setup.databaseUrl);
  const first = number;
  const running = run();
  const { sent, overAt } = await underLoad(running);
  const state = await eventually(
    async () => {
      const now = await tally(setup.databaseUrl).catch(() => undefined);
      return now && now.rows - before.rows >= number - first && now.open === 0 && now;
    },
    `the backlog of ${fault}`,
    BACKLOG_LIMIT_MS * 2,
  ).catch(() => tally(setup.databaseUrl));
  const backlogSeconds = (performance.now() - overAt) / 1_000;
  const lost = sent - (state.sent - before.sent);
  const isGood = lost === 0 && state.open === 0 && backlogSeconds * 1_000 <= BACKLOG_LIMIT_MS;
  results.push({ fault, events: sent, lost, backlogSeconds, isGood });
  process.stdout.write(`${line(results.at(-1) as Result)}\n`);
}

const line = ({ fault, events, lost, backlogSeconds, isGood }: Result): string =>
  `${isGood ? 'ok  ' : 'FAIL'} ${fault.padEnd(34)} ${String(events).padStart(6)} events ${String(lost).padStart(4)} lost, backlog processed after ${backlogSeconds.toFixed(1)} s`;

await scenario(`PostgreSQL outage of ${values.seconds} s`, async () => {
  await pause(2_000);
  // Like a server that is shut down: connections end with an error, and new ones are refused.
  await sql(
    postgres.url,
    'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()',
    [databaseUrl.pathname.slice(1)],
  );
  await postgresProxy.shut();
  await pause(outageMs);
  await postgresProxy.open();
});
await scenario(`Redis outage of ${values.seconds} s`, async () => {
  await pause(2_000);
  await redisProxy.shut();
  await pause(outageMs);
  await redisProxy.open();
});
await scenario(`Kafka suspended for ${values.seconds} s`, async () => {
  await pause(2_000);
  kafka.pause();
  await pause(outageMs);
  kafka.resume();
});
await scenario(`${values.joins} consumers join and leave`, async () => {
  for (let join = 0; join < Number(values.joins); join += 1) {
    const member = await startChild({ ...env, ROLES: 'consumer' });
    await pause(500);
    await member.kill(join % 2 === 0 ? 'SIGTERM' : 'SIGKILL');
  }
});

// As many malformed as valid messages, shuffled into the same partitions.
const malformed = Number(values.malformed);
const isNoStall = await noStall(malformed);

const state = await tally(setup.databaseUrl);
const duplicates = [...relay.received.values()].reduce((sum, times) => sum + times - 1, 0);
const isCounted = relay.received.size === mails && duplicates <= state.unknownAttempts;
process.stdout.write(
  `${isCounted ? 'ok  ' : 'FAIL'} ${mails} mails have ${relay.received.size} Message-IDs, ${duplicates} mails were sent twice, ` +
    `${state.unknownAttempts} attempts have an unknown outcome\n`,
);

process.stdout.write(
  `${died === 0 ? 'ok  ' : 'FAIL'} ${died} of ${children.length} processes exited during the test\n`,
);
isOver = true;
for (const child of children) await child.kill('SIGTERM');
await producer.disconnect();
await admin.disconnect();
await setup.close();
await Promise.all([
  postgresProxy.shut(),
  redisProxy.shut(),
  relay.close(),
  kafka.stop(),
  redis.stop(),
  postgres.stop(),
]);
process.exit(died === 0 && isNoStall && isCounted && results.every(({ isGood }) => isGood) ? 0 : 1);

/** Valid events are delivered, invalid ones are stored with origin and reason, and no partition is blocked. */
async function noStall(count: number): Promise<boolean> {
  const before = await tally(setup.databaseUrl);
  const bad = ['{"event_id":', '[]', '{"event_id": "x"}', '\u0000\u0001', 'x'.repeat(1_000), '{"tenant_id": 7}'];
  const messages = nextEvents(count).flatMap((event, index) => [
    { value: JSON.stringify(event) },
    { value: bad[index % bad.length] ?? '' },
  ]);
  const CHUNK = 1_000;
  const sending = (async () => {
    for (let from = 0; from < messages.length; from += CHUNK) {
      await producer.send({ topic: TOPIC, messages: messages.slice(from, from + CHUNK) });
    }
  })();

  let longestStallMs = 0;
  const moved = new Map<number, { offset: string; at: number }>();
  const rejected = async (): Promise<number> => {
    const [row] = await sql<{ n: number }>(
      setup.databaseUrl,
      `select count(*)::int as n from rejected_event
       where topic = $1 and partition is not null and "offset" is not null and reason <> '' and message <> ''`,
      [TOPIC],
    );
    return row?.n ?? 0;
  };
  await eventually(
    async () => {
      const [ends, committed] = await Promise.all([
        admin.fetchTopicOffsets(TOPIC),
        admin.fetchOffsets({ groupId: 'notification-subgraph', topics: [TOPIC] }),
      ]);
      const now = performance.now();
      for (const { partition, offset } of committed[0]?.partitions ?? []) {
        const end = ends.find((other) => other.partition === partition)?.high;
        const last = moved.get(partition);
        if (last && last.offset === offset && offset !== end) {
          longestStallMs = Math.max(longestStallMs, now - last.at);
        } else moved.set(partition, { offset, at: now });
      }
      const state = await tally(setup.databaseUrl);
      return state.open === 0 && state.sent - before.sent === count && (await rejected()) >= count;
    },
    'the valid and the invalid events',
    180_000,
  ).catch(() => undefined);
  await sending;
  const state = await tally(setup.databaseUrl);
  const kept = await rejected();
  const isGood = state.sent - before.sent === count && kept === count && longestStallMs <= STALL_LIMIT_MS;
  process.stdout.write(
    `${isGood ? 'ok  ' : 'FAIL'} ${count} valid and ${count} malformed events: ${state.sent - before.sent} delivered, ` +
      `${kept} rejected with a reason, longest stall of a partition ${longestStallMs.toFixed(0)} ms\n`,
  );
  return isGood;
}
