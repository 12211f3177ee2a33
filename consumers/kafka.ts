import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectionOptions } from 'node:tls';

import { type Consumer, type EachBatchPayload, Kafka, type KafkaMessage, logLevel, type SASLOptions } from 'kafkajs';

import type { KafkaConfig } from '../src/config.ts';
import type { Intake } from '../src/intake/intake.ts';
import type { Log } from '../src/log.ts';
import { NotReadyError } from '../src/observability/health.ts';
import { EVENT_TYPES } from './events/index.ts';
import { type Control, isControl } from './inputs.ts';
import './kafka-codecs.ts';
import { messageInput } from './kafka-messages.ts';

export interface KafkaConsumerOptions {
  config: KafkaConfig;
  /** Topic of `notification.triggered.v1`. The topic of every other type has the name of the type. */
  pubsubTopic: string;
  intake: Intake;
  control: Control;
  log: Log;
  /** Interval of checks for topics that do not exist yet, in milliseconds. */
  topicCheckMs?: number;
}

export interface KafkaConsumer {
  /**
   * Checks the connection and the topics.
   * @throws {NotReadyError} when topics do not exist; another error when the brokers are unavailable or the consumer is
   *   not running.
   */
  ping(): Promise<void>;
  /** Finishes and commits the current batch and leaves the group. */
  close(): Promise<void>;
}

const V1 = 'notification.triggered.v1';
const TICK_MS = 250;
/** Delay after a failed start, in milliseconds. Retrying a wrong password more often could lock the account. */
const RESTART_MS = 2_000;
/** Maximum wait for the brokers on shutdown, in milliseconds. Other consumers read uncommitted messages again. */
const CLOSE_LIMIT_MS = 10_000;

/**
 * Consumes in batches and commits an offset only after its messages are stored in PostgreSQL. An invalid message is
 * stored as rejected and committed like any other, so it does not block its partition. During an outage of PostgreSQL
 * the batch waits and nothing is committed.
 *
 * kafkajs restarts itself after some errors and stops after others. Its restart is disabled here, and one loop restarts
 * the consumer after every error while the service runs.
 */
export function startKafkaConsumer(options: KafkaConsumerOptions): KafkaConsumer {
  const { config, log, topicCheckMs = 10_000 } = options;
  const kafka = createClient(config, log);
  const admin = kafka.admin();
  const typeOfTopic = new Map(EVENT_TYPES.map((type) => [type === V1 ? options.pubsubTopic : type, type]));
  const stopping = new AbortController();
  let consumer: Consumer | undefined;
  let consumed: string[] = [];
  /** Why the consumer is not running; undefined when it is. */
  let problem: string | undefined = 'not connected yet';
  /** When to compare the subscribed topics with the existing ones again. */
  let dueAt = 0;

  const start = async (topics: string[]): Promise<void> => {
    const next = kafka.consumer({
      groupId: config.groupId,
      // Longer than a statement takes to fail in an outage of PostgreSQL, so that the member is not removed from the
      // group.
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
      log.error({ error: crash }, 'consuming from Kafka failed');
      consumer = undefined;
      problem = 'the consumer crashed and is restarted';
      dueAt = 0;
    });
    consumer = next;
    try {
      await next.connect();
      await next.subscribe({ topics, fromBeginning: true });
      await next.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        // A partition with a large batch does not delay other partitions.
        partitionsConsumedConcurrently: CONCURRENT_PARTITIONS,
        eachBatch: (payload) => consumeBatch(payload, typeOfTopic, options),
      });
      // `run` does not throw when joining the group fails.
      if (crash) throw crash;
    } catch (error) {
      consumer = undefined;
      await next.disconnect();
      throw error;
    }
  };

  const findTopics = async (): Promise<{ topics: string[]; missing: string[] }> => {
    const existing = new Set(await admin.listTopics());
    const configured = [...typeOfTopic.keys()];
    return {
      topics: configured.filter((topic) => existing.has(topic)),
      missing: configured.filter((topic) => !existing.has(topic)),
    };
  };

  /**
   * Subscribes to the existing topics. A missing topic may be created later; subscribing to it now would fail for all.
   */
  const reconcile = async (): Promise<void> => {
    await admin.connect();
    const { topics, missing } = await findTopics();
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
        if (!consumer) problem = 'the consumer could not be started';
        dueAt = performance.now() + RESTART_MS;
        log.error({ error }, 'starting the Kafka consumer failed, trying again');
      }
      await sleep(TICK_MS, undefined, { signal: stopping.signal }).catch(() => {});
    }
    await consumer?.disconnect();
    await admin.disconnect();
  };
  const supervising = supervise().catch((error: unknown) => log.warn({ error }, 'disconnecting from Kafka failed'));

  return {
    ping: async () => {
      if (problem !== undefined) throw new Error(`not consuming from Kafka: ${problem}`);
      const { topics, missing } = await findTopics();
      if (topics.length !== consumed.length) dueAt = 0;
      if (missing.length > 0) throw new NotReadyError(`topics do not exist: ${missing.join(', ')}`);
      if (topics.length !== consumed.length) throw new Error('not consuming from Kafka: topics were created just now');
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
  // Throws during a rebalance, so that the batch is not started.
  await payload.heartbeat();
  const { topic, partition } = payload.batch;
  const type = typeOfTopic.get(topic) as string;
  // Split into chunks, so that offsets advance during a large batch.
  const { messages } = payload.batch;
  for (let from = 0; from < messages.length; from += CHUNK) {
    const chunk = messages.slice(from, from + CHUNK);
    const inputs = chunk.map((message) => messageInput(message, { topic, partition, type }));
    const stored = inputs.filter((input) => !isControl(input));
    await storeWithRetry(payload, log, async () => {
      await intake.take(stored);
      for (const input of inputs) if (isControl(input)) await control(input);
    });
    const isLast = from + CHUNK >= messages.length;
    // `lastOffset` includes control records, e.g. transaction markers, which are not among the messages.
    await commit(payload, isLast ? payload.batch.lastOffset() : (chunk.at(-1) as KafkaMessage).offset);
    if (!isLast) await payload.heartbeat();
  }
}

/** Maximum number of messages that are stored in one transaction. */
const CHUNK = 500;
const CONCURRENT_PARTITIONS = 4;

async function commit(payload: EachBatchPayload, last: string): Promise<void> {
  const { topic, partition } = payload.batch;
  // Committed before `resolveOffset`: when the commit fails, the batch is read again and its events are detected as
  // known.
  await payload.commitOffsetsIfNecessary({
    topics: [{ topic, partitions: [{ partition, offset: String(BigInt(last) + 1n) }] }],
  });
  payload.resolveOffset(last);
}

/** Repeats `store` until it succeeds. @throws when the consumer stops or loses the partition. */
async function storeWithRetry(payload: EachBatchPayload, log: Log, store: () => Promise<void>): Promise<void> {
  const { topic, partition } = payload.batch;
  for (let delayMs = 100; ; delayMs = Math.min(delayMs * 2, 2_000)) {
    try {
      await store();
      return;
    } catch (error) {
      if (!payload.isRunning()) throw error;
      log.error({ error, topic, partition }, 'storing a batch failed, trying again');
    }
    await payload.heartbeat();
    await sleep(delayMs);
  }
}

function tlsOptions({ ssl, sslCaPath }: KafkaConfig): ConnectionOptions | boolean {
  return ssl && sslCaPath !== undefined ? { ca: readFileSync(sslCaPath, 'utf8') } : ssl;
}
