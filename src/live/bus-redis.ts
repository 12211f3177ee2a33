import { RedisPubSub } from 'graphql-redis-subscriptions';
import { Cluster, Redis, type RedisOptions } from 'ioredis';

import { exactReviver } from '../exact-json.ts';
import type { Log } from '../log.ts';
import { type Bus, MAX_SIGNAL, topics } from './bus.ts';
import { engineBus } from './engine-bus.ts';

export interface RedisBusOptions {
  /** One URL, or the URLs of several nodes of a cluster. */
  urls: string[];
  log: Log;
}

/** Creates a bus between processes. An outage of Redis delays live updates but loses none: see {@link Bus.onGap}. */
export function redisBus({ urls, log }: RedisBusOptions): Bus {
  // No offline queue: during an outage wake-ups are dropped instead of filling memory.
  const publisher = connect(urls, { enableOfflineQueue: false, maxRetriesPerRequest: 1, enableAutoPipelining: true });
  // No ready check: it sends INFO, which Redis refuses on a connection that has a subscription.
  const subscriber = connect(urls, { maxRetriesPerRequest: null, enableReadyCheck: false });
  const gapListeners = new Set<() => void>();

  for (const [name, client] of Object.entries({ publisher, subscriber })) {
    let isDown = false;
    client.on('error', (error: Error) => {
      if (!isDown) log.warn({ error, connection: name }, 'Redis connection lost');
      isDown = true;
    });
    client.on('ready', () => {
      if (isDown) log.info({ connection: name }, 'Redis connection restored');
      isDown = false;
    });
  }
  let wasReady = false;
  subscriber.on('ready', () => {
    const isBack = wasReady;
    wasReady = true;
    if (!isBack) return;
    // The reply to this ping follows those to the repeated subscriptions, so from then on no message is missed.
    subscriber
      .ping()
      .then(() => gapListeners.forEach((listener) => listener()))
      .catch((error: unknown) => log.debug({ error }, 'Redis connection lost again'));
  });

  const engine = new RedisPubSub({ reviver: exactReviver, publisher, subscriber: retryingSubscriber(subscriber, log) });
  return {
    ...engineBus(engine, (error, source) => {
      if (source === 'listener') log.error({ error }, 'a listener threw an error for a bus message');
      else log.debug({ error }, 'publishing a wake-up failed');
    }),
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

/** Delay before a failed SUBSCRIBE is repeated, in milliseconds. */
const RESUBSCRIBE_MS = 200;

/**
 * Wraps the subscriber connection for the engine. On a failed SUBSCRIBE the engine drops the subscription and leaves an
 * unhandled rejection. The wrapper hides failures from it and repeats SUBSCRIBE until the connection is closed.
 */
function retryingSubscriber(subscriber: Redis | Cluster, log: Log): Redis {
  const subscribe = (topic: string, onSubscribed: (error: null) => void): void => {
    subscriber
      .subscribe(topic)
      .then(() => onSubscribed(null))
      .catch((error: unknown) => {
        if (subscriber.status === 'end') return;
        log.debug({ error }, 'Redis subscribe failed, trying again');
        setTimeout(() => subscribe(topic, onSubscribed), RESUBSCRIBE_MS).unref();
      });
  };
  const unsubscribe = (topic: string): void => {
    subscriber.unsubscribe(topic).catch((error: unknown) => log.debug({ error }, 'Redis unsubscribe failed'));
  };
  const on = (event: string, listener: (topic: string, message: string) => void): void => {
    subscriber.on(event, (topic: string, message: string) => {
      // Checked before the message is parsed.
      if (topic !== topics.signals || message.length <= MAX_SIGNAL) listener(topic, message);
      else log.warn({ characters: message.length, limit: MAX_SIGNAL }, 'signal refused, it is too long');
    });
  };
  const wrapper: Record<'on' | 'subscribe' | 'unsubscribe' | 'punsubscribe', unknown> = {
    on,
    subscribe,
    unsubscribe,
    // The engine calls this for every subscription, but ours are never patterns.
    punsubscribe: () => {},
  };
  return wrapper as unknown as Redis;
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
