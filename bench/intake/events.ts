import { type Kafka, Partitioners } from 'kafkajs';

import { loadEvent } from '../../test/support/load.ts';

/** Number of partitions of a topic. */
const PARTITIONS = 4;
/** Number of messages that are produced at once. */
const CHUNK = 2_000;

/** Creates a topic with a number of events, spread evenly over its partitions. */
export async function fillTopic(kafka: Kafka, topic: string, events: number): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }], waitForLeaders: true });
  await admin.disconnect();
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
  for (let from = 0; from < events; from += CHUNK) {
    const messages = Array.from({ length: Math.min(CHUNK, events - from) }, (_none, index) => ({
      partition: index % PARTITIONS,
      value: JSON.stringify(loadEvent('email', from + index)),
    }));
    await producer.send({ topic, messages });
  }
  await producer.disconnect();
}
