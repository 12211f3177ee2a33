import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';

import { createEmitter } from '../../client/emitter.ts';

describe('the emitter', () => {
  let redis: Redis;
  let subscriber: Redis;
  const heard: string[] = [];
  beforeAll(async () => {
    redis = new Redis(inject('redisUrl'));
    subscriber = redis.duplicate();
    subscriber.on('message', (_channel, message) => heard.push(message));
    await subscriber.subscribe('signal:emit');
  });
  afterAll(() => {
    redis.disconnect();
    subscriber.disconnect();
  });

  it('publishes topic, data and destination', async () => {
    const topic = `orders/${crypto.randomUUID()}`;
    const arrived = new Promise<string>((resolve) => {
      subscriber.on('message', (_channel, message) => {
        if (message.includes(topic)) resolve(message);
      });
    });
    await createEmitter(redis).emit(topic, { order: 1, at: new Date(0) }, { tenant: 'tenant', user: 'user' });
    expect(JSON.parse(await arrived)).toEqual({
      topic,
      data: { order: 1, at: '1970-01-01T00:00:00.000Z' },
      destination: { tenant: 'tenant', user: 'user' },
    });
  });

  const circular: Record<string, unknown> = {};
  circular['self'] = circular;
  it.each<[string, unknown, unknown, unknown]>([
    ['topic', '', 1, { user: 'u' }],
    ['topic', 5, 1, { user: 'u' }],
    ['data', 'refused', undefined, { user: 'u' }],
    ['data', 'refused', () => 1, { user: 'u' }],
    ['data', 'refused', 1n, { user: 'u' }],
    ['data', 'refused', circular, { user: 'u' }],
    ['message', 'refused', 'x'.repeat(256 * 1024), { user: 'u' }],
    ['destination', 'refused', 1, undefined],
    ['destination', 'refused', 1, ['user']],
    ['destination', 'refused', 1, {}],
    ['destination.usr', 'refused', 1, { usr: 'u' }],
    ['destination.user', 'refused', 1, { tenant: 't', user: '' }],
    ['destination.user', 'refused', 1, { tenant: 't', user: undefined }],
  ])(
    'rejects an invalid %s with an error that names it, and sends nothing',
    async (field, topic, data, destination) => {
      const emit = createEmitter(redis).emit as (...input: unknown[]) => Promise<void>;
      await expect(emit(topic, data, destination)).rejects.toMatchObject({
        code: 'invalid_message',
        message: expect.stringMatching(new RegExp(`^${field} `)),
      });
      expect(heard.filter((message) => message.includes('refused'))).toEqual([]);
    },
  );

  it('rejects with the error of the Redis client', async () => {
    const gone = new Redis(inject('redisUrl'), { lazyConnect: true });
    gone.disconnect();
    await expect(createEmitter(gone).emit('topic', 1, { user: 'u' })).rejects.toThrow('Connection is closed');
  });
});
