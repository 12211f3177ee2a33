import { Kafka, logLevel } from 'kafkajs';

import { openTextbookStore } from './textbook-store.ts';

// kafkajs as in its documentation: `eachMessage` with one insert an event. Offsets are committed automatically.

const store = await openTextbookStore();
const kafka = new Kafka({ brokers: [process.env['KAFKA_BROKERS'] ?? ''], logLevel: logLevel.NOTHING });
const consumer = kafka.consumer({ groupId: process.env['KAFKA_GROUP_ID'] ?? '' });
await consumer.connect();
await consumer.subscribe({ topics: [process.env['PUBSUB_TOPIC'] ?? ''], fromBeginning: true });
await consumer.run({
  eachMessage: async ({ message }) => {
    await store(JSON.parse(String(message.value)));
  },
});
process.send?.({ url: 'consuming' });
