import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectionOptions } from 'node:tls';

import { type Consumer, type EachBatchPayload, Kafka, type KafkaMessage, logLevel, type SASLOptions } from 'kafkajs';

import type { KafkaConfig } from '../src/config.ts';
import type { Intake } from '../src/intake/intake.ts';
import type { Log } from '../src/log.ts';
import { EVENT_TYPES } from './events/index.ts';
import { type Control, isControl } from './inputs.ts';
import './kafka-codecs.ts';
import { messageInput } from './kafka-messages.ts';

export interface KafkaConsumerOptions {
  config: KafkaConfig;
  /** Topic that carries `notification.triggered.v1`; every other type has the topic of its own name. */
  pubsubTopic: string;
  intake: Intake;
  control: Control;
  log: Log;
  /** How often to look for topics that did not exist yet. Milliseconds. */
  topicCheckMs?: number;
}

export interface KafkaConsumer {
  /** @throws when the brokers cannot be reached, or nothing is consumed although there are topics. */
  ping(): Promise<void>;
  /** Finishes the batch in hand, commits it and leaves the group. */
  close(): Promise<void>;
}

const V1 = 'notification.triggered.v1';
const TICK_MS = 250;
/** After a failed start. A wrong password, tried more often, may lock the account. */
const RESTART_MS = 2_000;
/** Brokers that do not answer are not waited for; whoever takes the partitions over reads the rest again. */
const CLOSE_LIMIT_MS = 10_000;

/**
 * Consumes by batch and commits an offset only once its batch is in PostgreSQL. A message that cannot be parsed is
 * kept as rejected and committed like any other, so it never stops its partition; while PostgreSQL is away the batch
 * waits, and nothing is committed.
 *
 * The library gives up on its own for some errors and starts again for others. Here it always gives up, and one loop
 * starts it again, whatever the error was, for as long as the service runs.
 */
export function startKafkaConsumer(options: KafkaConsumerOptions): KafkaConsumer {
  const { config, log, topicCheckMs = 10_000 } = options;
  const kafka = createClient(config, log);
  const admin = kafka.admin();
  const typeOfTopic = new Map(EVENT_TYPES.map((type) => [type === V1 ? options.pubsubTopic : type, type]));
  const stopping = new AbortController();
  let consumer: Consumer | undefined;
  let consumed: string[] = [];
  /** Why nothing is consumed. */
  let problem: string | undefined = 'not connected yet';
  /** When to bring what is consumed in line with what exists. */
  let dueAt = 0;

  const start = async (topics: string[]): Promise<void> => {
    const next = kafka.consumer({
      groupId: config.groupId,
      // Longer than it takes to find out that PostgreSQL is away, so that such a batch does not cost the membership.
      sessionTimeout: 20_000,
      heartbeatInterval: 2_000,
      rebalanceTimeout: 20_000,
      maxWaitTimeInMs: 250,
      allowAutoTopicCreation: false,
      retry: { retries: 4, maxRetryTime: 2_000, restartOnFailure: async () => false },
    });
    let crash: Error | undefined;
    next.on(next.events.CRASH, ({ payload }) => {
      crash = payload.error;
      if (consumer !== next) return;
      log.error({ error: crash }, 'consuming from Kafka broke off');
      consumer = undefined;
      problem = 'broke off';
      dueAt = 0;
    });
    consumer = next;
    try {
      await next.connect();
      await next.subscribe({ topics, fromBeginning: true });
      await next.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        // A partition with a large batch, or one that waits for its turn to be stored, holds up no other.
        partitionsConsumedConcurrently: PARTITIONS_AT_ONCE,
        eachBatch: (payload) => consumeBatch(payload, typeOfTopic, options),
      });
      // The library returns as if nothing had happened when the group could not be joined.
      if (crash) throw crash;
    } catch (error) {
      consumer = undefined;
      await next.disconnect();
      throw error;
    }
  };

  /** Topics may be made after the service started; subscribing to one that is missing would fail for all. */
  const reconcile = async (): Promise<void> => {
    await admin.connect();
    const existing = new Set(await admin.listTopics());
    const topics = [...typeOfTopic.keys()].filter((topic) => existing.has(topic));
    const missing = [...typeOfTopic.keys()].filter((topic) => !existing.has(topic));
    dueAt = missing.length === 0 ? Number.POSITIVE_INFINITY : performance.now() + topicCheckMs;
    if (consumer && topics.length === consumed.length) return;
    const previous = consumer;
    consumer = undefined;
    await previous?.disconnect();
    if (topics.length > 0) await start(topics);
    consumed = topics;
    problem = undefined;
    log.info({ topics, missing, group: config.groupId }, 'consuming from Kafka');
  };

  const supervise = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      try {
        if (performance.now() >= dueAt) await reconcile();
      } catch (error) {
        if (!consumer) problem = 'could not start';
        dueAt = performance.now() + RESTART_MS;
        log.error({ error }, 'cannot consume from Kafka, trying again');
      }
      await sleep(TICK_MS, undefined, { signal: stopping.signal }).catch(() => {});
    }
    await consumer?.disconnect();
    await admin.disconnect();
  };
  const supervising = supervise().catch((error: unknown) => log.warn({ error }, 'did not leave Kafka in order'));

  return {
    ping: async () => {
      if (problem !== undefined) throw new Error(`not consuming from Kafka: ${problem}`);
      await admin.describeCluster();
    },
    close: async () => {
      stopping.abort();
      await Promise.race([supervising, sleep(CLOSE_LIMIT_MS, undefined, { ref: false })]);
    },
  };
}

function createClient(config: KafkaConfig, log: Log): Kafka {
  return new Kafka({
    clientId: 'notification-subgraph',
    brokers: config.brokers,
    ssl: tlsOptions(config),
    ...(config.sasl ? { sasl: config.sasl as SASLOptions } : {}),
    requestTimeout: 10_000,
    retry: { initialRetryTime: 200, retries: 2 },
    logCreator: () => (entry) => {
      const level = entry.level <= logLevel.ERROR ? 'warn' : entry.level === logLevel.WARN ? 'info' : 'debug';
      log[level]({ kafka: entry.log['error'] ?? entry.log['groupId'] }, entry.log.message);
    },
  });
}

async function consumeBatch(
  payload: EachBatchPayload,
  typeOfTopic: ReadonlyMap<string, string>,
  { intake, control, log }: KafkaConsumerOptions,
): Promise<void> {
  // Fails while the group waits for this member to join again: then the batch is not begun.
  await payload.heartbeat();
  const { topic, partition } = payload.batch;
  const type = typeOfTopic.get(topic) as string;
  // In pieces, so that a partition moves on while a large batch is worked through.
  const { messages } = payload.batch;
  for (let from = 0; from < messages.length; from += CHUNK) {
    const chunk = messages.slice(from, from + CHUNK);
    const inputs = chunk.map((message) => messageInput(message, { topic, partition, type }));
    const stored = inputs.filter((input) => !isControl(input));
    await patiently(payload, log, async () => {
      await intake.take(stored);
      for (const input of inputs) if (isControl(input)) await control(input);
    });
    const isLast = from + CHUNK >= messages.length;
    // Of the last piece also what the broker keeps for itself, e.g. the marks of transactions.
    await commit(payload, isLast ? payload.batch.lastOffset() : (chunk.at(-1) as KafkaMessage).offset);
    if (!isLast) await payload.heartbeat();
  }
}

/** Messages that are stored in one transaction. */
const CHUNK = 500;
const PARTITIONS_AT_ONCE = 4;

async function commit(payload: EachBatchPayload, last: string): Promise<void> {
  const { topic, partition } = payload.batch;
  // Committed first: where that fails, the batch is read again, and what is known already is known again.
  await payload.commitOffsetsIfNecessary({
    topics: [{ topic, partitions: [{ partition, offset: String(BigInt(last) + 1n) }] }],
  });
  payload.resolveOffset(last);
}

/** Waits for PostgreSQL as long as it takes. @throws when the partition is given up meanwhile. */
async function patiently(payload: EachBatchPayload, log: Log, store: () => Promise<void>): Promise<void> {
  const { topic, partition } = payload.batch;
  for (let delayMs = 100; ; delayMs = Math.min(delayMs * 2, 2_000)) {
    try {
      await store();
      return;
    } catch (error) {
      if (!payload.isRunning()) throw error;
      log.error({ error, topic, partition }, 'batch not stored, trying again');
    }
    await payload.heartbeat();
    await sleep(delayMs);
  }
}

function tlsOptions({ ssl, sslCaPath }: KafkaConfig): ConnectionOptions | boolean {
  return ssl && sslCaPath !== undefined ? { ca: readFileSync(sslCaPath, 'utf8') } : ssl;
}
