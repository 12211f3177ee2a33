import { Redis } from 'ioredis';

import { notification } from './event.ts';

// A process of its own that publishes events to Redis: so many at once, as it is told.

const redis = new Redis(process.env['REDIS_URL'] ?? '');
const channel = process.env['FANOUT_CHANNEL'] ?? '';
let number = 0;

async function publish(count: number): Promise<void> {
  const pipeline = redis.pipeline();
  for (let left = count; left > 0; left -= 1) {
    number += 1;
    pipeline.publish(channel, JSON.stringify({ notificationCreated: notification(number) }));
  }
  await pipeline.exec();
  process.send?.({ published: count });
}

process.on('message', ({ publish: count }: { publish: number }) => void publish(count));
process.on('disconnect', () => process.exit(0));
