import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';

import { type Consumer, type EachBatchPayload, Kafka, type KafkaMessage, logLevel, type SASLOptions } from 'kafkajs';

import type { KafkaConfig } from '../src/config.ts';
import type { Intake } from '../src/intake/intake.ts';
import type { Log } from '../src/log.ts';
import { isBatch, isBinary, isStructured, openBinary, openStructured, parseJson } from './envelope.ts';
import { EventRefused, type RawEvent } from './events/event.ts';
import { EVENT_TYPES } from './events/index.ts';
import { type DoorInput, toInput } from './inputs.ts';
import './kafka-codecs.ts';

export interface KafkaConsumerOptions {
  config: KafkaConfig;
  /** Topic that carries `notification.triggered.v1`; every other type has the topic of its own name. */
  pubsubTopic: string;
  intake: Intake;
  onConfigUpdated: (tenantId: string) => void;
  log: Log;
}

export interface KafkaConsumer {
  /** @throws when the brokers cannot be reached or the group is not joined. */
  ping(): Promise<void>;
  /** Finishes the batch in hand, commits it and leaves the group. */
  close(): Promise<void>;
}

const V1 = 'notification.triggered.v1';
const TOPIC_CHECK_MS = 10_000;
/** For ever: a broker that is away comes back, and giving up would need a restart by hand. */
const RETRY = { initialRetryTime: 200, maxRetryTime: 5_000, retries: Number.MAX_SAFE_INTEGER };

/**
 * Consumes by batch and commits an offset only once its batch is in PostgreSQL. A message that cannot be parsed is
 * kept as rejected and committed like any other, so it never stops its partition; while PostgreSQL is away the batch
 * waits, and nothing is committed.
 */
export function startKafkaConsumer(options: KafkaConsumerOptions): KafkaConsumer {
  const { config, log } = options;
  const kafka = new Kafka({
    clientId: 'notification-subgraph',
    brokers: config.brokers,
    ssl: tlsOptions(config),
    ...(config.sasl ? { sasl: config.sasl as SASLOptions } : {}),
    retry: RETRY,
    logCreator: () => (entry) => {
      const level = entry.level <= logLevel.ERROR ? 'warn' : entry.level === logLevel.WARN ? 'info' : 'debug';
      log[level]({ kafka: entry.log['error'] ?? entry.log['groupId'] }, entry.log.message);
    },
  });
  const typeOfTopic = new Map(EVENT_TYPES.map((type) => [type === V1 ? options.pubsubTopic : type, type]));
  const admin = kafka.admin();
  let consumer: Consumer | undefined;
  let consumed: string[] = [];
  let isStopping = false;
  let hasJoined = false;

  const start = async (topics: string[]): Promise<void> => {
    const next = kafka.consumer({
      groupId: config.groupId,
      sessionTimeout: 10_000,
      heartbeatInterval: 2_000,
      rebalanceTimeout: 20_000,
      maxWaitTimeInMs: 250,
      allowAutoTopicCreation: false,
      retry: { ...RETRY, restartOnFailure: async () => true },
    });
    next.on(next.events.GROUP_JOIN, () => (hasJoined = true));
    next.on(next.events.CRASH, () => (hasJoined = false));
    next.on(next.events.DISCONNECT, () => (hasJoined = false));
    await next.connect();
    await next.subscribe({ topics, fromBeginning: true });
    await next.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: (payload) => consumeBatch(payload, typeOfTopic, options, () => isStopping),
    });
    consumer = next;
    consumed = topics;
    log.info({ topics, group: config.groupId }, 'consuming from Kafka');
  };

  /** Topics may be made after the service started; subscribing to one that is missing would fail for all. */
  const followTopics = async (): Promise<void> => {
    const existing = new Set(await admin.listTopics());
    const wanted = [...typeOfTopic.keys()].filter((topic) => existing.has(topic));
    if (wanted.length === consumed.length) return;
    await consumer?.disconnect();
    if (wanted.length > 0 && !isStopping) await start(wanted);
  };

  /** In the background: the service is up, and says that it is not ready, while the brokers cannot be reached. */
  const connected = (async () => {
    await admin.connect();
    await followTopics();
    const missing = [...typeOfTopic.keys()].filter((topic) => !consumed.includes(topic));
    if (missing.length > 0) log.warn({ topics: missing }, 'topics do not exist yet; looking for them again');
  })().catch((error: unknown) => log.error({ error }, 'cannot start consuming'));

  let following: Promise<void> = connected;
  const timer = setInterval(() => {
    if (consumed.length === typeOfTopic.size) return clearInterval(timer);
    following = following
      .then(followTopics)
      .catch((error: unknown) => log.warn({ error }, 'cannot follow Kafka topics, trying again'));
  }, TOPIC_CHECK_MS);

  return {
    ping: async () => {
      if (consumed.length > 0 && !hasJoined) throw new Error('not a member of the consumer group');
      await admin.describeCluster();
    },
    close: async () => {
      isStopping = true;
      clearInterval(timer);
      // Brokers that cannot be reached are not waited for: the library would try for ever.
      await Promise.race([following, new Promise((resolve) => setTimeout(resolve, 2_000).unref())]);
      await consumer?.disconnect();
      await admin.disconnect();
    },
  };
}

async function consumeBatch(
  payload: EachBatchPayload,
  typeOfTopic: ReadonlyMap<string, string>,
  { intake, onConfigUpdated, log }: KafkaConsumerOptions,
  isStopping: () => boolean,
): Promise<void> {
  const { batch } = payload;
  if (!payload.isRunning() || payload.isStale()) return;
  const messages = batch.messages.flatMap((message) =>
    messageInputs(message, batch.topic, batch.partition, typeOfTopic.get(batch.topic) as string),
  );
  const inputs = messages.filter((input) => input.kind !== 'config-updated');

  for (let delayMs = 100; ; delayMs = Math.min(delayMs * 2, 2_000)) {
    try {
      await intake.take(inputs);
      break;
    } catch (error) {
      if (isStopping() || !payload.isRunning()) throw error;
      log.error({ error, topic: batch.topic, partition: batch.partition }, 'batch not stored, trying again');
      await payload.heartbeat();
      await new Promise((resolve) => setTimeout(resolve, delayMs));
    }
  }
  for (const message of messages) if (message.kind === 'config-updated') onConfigUpdated(message.tenantId);

  payload.resolveOffset(batch.lastOffset());
  await payload.commitOffsetsIfNecessary({
    topics: [
      {
        topic: batch.topic,
        partitions: [{ partition: batch.partition, offset: String(BigInt(batch.lastOffset()) + 1n) }],
      },
    ],
  });
  await payload.heartbeat();
}

/** Usually one input; several for a message that is a batch of CloudEvents. */
function messageInputs(message: KafkaMessage, topic: string, partition: number, type: string): DoorInput[] {
  const headers = headersOf(message);
  const body = message.value ?? Buffer.alloc(0);
  const origin = {
    raw: body,
    headers,
    source: { kind: 'kafka', topic, partition, offset: message.offset } as const,
    eventType: type,
  };
  const position = [topic, partition, message.offset];

  if (isBatch(headers)) {
    let items: unknown;
    try {
      items = parseJson(body);
      if (!Array.isArray(items)) throw new EventRefused('malformed_event', 'a batch must be a JSON array');
    } catch (error) {
      return [
        toInput(() => {
          throw error;
        }, origin),
      ];
    }
    return (items as unknown[]).map((item) => toInput(() => openStructured(item), origin));
  }
  const open = (): RawEvent => {
    if (isStructured(headers)) return openStructured(parseJson(body));
    if (isBinary(headers)) return openBinary({ headers, body });
    return { type, payload: parseJson(body), position, traceparent: headers['traceparent'] };
  };
  return [toInput(open, origin)];
}

/** Header names as HTTP spells them: the Kafka binding of CloudEvents writes `ce_type` for `ce-type`. */
function headersOf(message: KafkaMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(message.headers ?? {})) {
    const first = Array.isArray(value) ? value[0] : value;
    if (first !== undefined) headers[name.toLowerCase().replace(/^ce_/, 'ce-')] = first.toString();
  }
  return headers;
}

function tlsOptions({ ssl, sslCaPath }: KafkaConfig): ConnectionOptions | boolean {
  return ssl && sslCaPath !== undefined ? { ca: readFileSync(sslCaPath, 'utf8') } : ssl;
}
