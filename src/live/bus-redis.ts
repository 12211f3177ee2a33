import { RedisPubSub } from 'graphql-redis-subscriptions';
import { Cluster, type Command, Redis, type RedisOptions } from 'ioredis';

import type { Log } from '../log.ts';
import type { Bus } from './bus.ts';
import { engineBus } from './engine-bus.ts';

export interface RedisBusOptions {
  /** One URL, or several nodes of a cluster. */
  urls: string[];
  log: Log;
}

/** A bus between processes. An outage of Redis delays live updates and loses none: see {@link Bus.onGap}. */
export function redisBus({ urls, log }: RedisBusOptions): Bus {
  // Without an offline queue a hint that cannot be sent now is dropped, instead of filling memory in an outage.
  const publisher = connect(urls, { enableOfflineQueue: false, maxRetriesPerRequest: 1, enableAutoPipelining: true });
  const subscriber = connect(urls, { maxRetriesPerRequest: null });
  const gapListeners = new Set<() => void>();

  for (const [name, client] of Object.entries({ publisher, subscriber })) {
    let isDown = false;
    client.on('error', (error: Error) => {
      if (!isDown) log.warn({ error, connection: name }, 'Redis connection lost');
      isDown = true;
    });
    client.on('ready', () => {
      if (isDown) log.info({ connection: name }, 'Redis connection is back');
      isDown = false;
    });
  }
  let wasReady = false;
  subscriber.on('ready', () => {
    if (wasReady) for (const listener of gapListeners) listener();
    wasReady = true;
  });

  // The engine waits for no unsubscribe, so one that Redis never took would be an unhandled rejection.
  const sendCommand = subscriber.sendCommand.bind(subscriber);
  subscriber.sendCommand = (command: Command, ...rest: []) => {
    command.promise.catch((error: unknown) => log.debug({ error }, 'Redis did not take a subscription command'));
    return sendCommand(command, ...rest);
  };
  const engine = new RedisPubSub({ publisher, subscriber });
  return {
    ...engineBus(engine, (error) => log.debug({ error }, 'wake-up not published')),
    onGap: (listener) => gapListeners.add(listener),
    ping: async () => {
      await publisher.ping();
      if (subscriber.status !== 'ready') throw new Error(`subscriber is ${subscriber.status}`);
    },
    close: async () => {
      publisher.disconnect();
      subscriber.disconnect();
    },
  };
}

function connect(urls: string[], options: RedisOptions): Redis | Cluster {
  const retryStrategy = (attempt: number): number => Math.min(attempt * 100, 2_000);
  if (urls.length > 1) {
    return new Cluster(urls, {
      redisOptions: options,
      clusterRetryStrategy: retryStrategy,
      enableOfflineQueue: options.enableOfflineQueue ?? true,
    });
  }
  return new Redis(urls[0] as string, { ...options, retryStrategy });
}
