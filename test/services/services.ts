import { askKafka, startKafka } from './kafka/kafka.ts';
import { providePostgres } from './postgres.ts';
import { provideRedis } from './redis.ts';
import { alreadyRunning, firstThatWorks, fromCompose, namedByVariable } from './sources.ts';

export interface Services {
  databaseUrl: string;
  redisUrl: string;
  kafkaBrokers: string | undefined;
  /** Why Kafka is not available. */
  kafkaUnavailable?: string;
  /** Stops only what was started for the tests. */
  stop(): Promise<void>;
}

interface KafkaOrReason {
  url: string | undefined;
  unavailable?: string;
  stop(): Promise<void>;
}

const standardBrokers = '127.0.0.1:9092';

export async function provideServices(): Promise<Services> {
  const [postgres, redis, kafka] = await Promise.allSettled([providePostgres(), provideRedis(), provideKafka()]);
  const stop = async () => {
    const stopped = [postgres, redis, kafka].map((result) =>
      result.status === 'fulfilled' ? result.value.stop() : undefined,
    );
    const results = await Promise.allSettled(stopped);
    if (results.some(({ status }) => status === 'rejected')) throw failureOf(results, 'Could not stop all services');
  };

  if (postgres.status === 'rejected' || redis.status === 'rejected' || kafka.status === 'rejected') {
    await stop();
    throw failureOf([postgres, redis, kafka], 'Could not get all services for the tests');
  }
  const { url: kafkaBrokers, unavailable } = kafka.value;
  return {
    databaseUrl: postgres.value.url,
    redisUrl: redis.value.url,
    kafkaBrokers,
    ...(unavailable === undefined ? {} : { kafkaUnavailable: unavailable }),
    stop,
  };
}

/** Unlike the others, Kafka may be missing: then its suites are skipped on a developer's machine and fail in CI. */
async function provideKafka(): Promise<KafkaOrReason> {
  const named = namedByVariable('TEST_KAFKA_BROKERS', askKafka);
  if (named !== undefined) return named;
  try {
    return await firstThatWorks('Kafka', [
      { name: standardBrokers, get: () => alreadyRunning('Kafka', standardBrokers, askKafka) },
      { name: 'Docker', get: () => fromCompose('kafka', standardBrokers, askKafka) },
      { name: 'Java and the jars from Maven Central', get: startOwnKafka },
    ]);
  } catch (error) {
    if (process.env.CI === 'true') throw error;
    return { url: undefined, unavailable: (error as Error).message, stop: async () => {} };
  }
}

async function startOwnKafka() {
  const { brokers, stop } = await startKafka();
  return { url: brokers, stop };
}

function failureOf(results: PromiseSettledResult<unknown>[], message: string): Error {
  const reasons = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []));
  return new Error([message, ...reasons.map((reason) => reason.message)].join('\n'), { cause: reasons[0] });
}
