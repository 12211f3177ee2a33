import { RedisPubSub } from 'graphql-redis-subscriptions';
import { Cluster, Redis, type RedisOptions } from 'ioredis';

import type { Log } from '../log.ts';
import { type Bus, MAX_SIGNAL, topics } from './bus.ts';
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
  // The ready check asks for INFO, which Redis refuses once a subscription got in before it.
  const subscriber = connect(urls, { maxRetriesPerRequest: null, enableReadyCheck: false });
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
    const isBack = wasReady;
    wasReady = true;
    if (!isBack) return;
    // Its answer follows those of the subscriptions that were sent again: from there on nothing is missed.
    subscriber
      .ping()
      .then(() => gapListeners.forEach((listener) => listener()))
      .catch((error: unknown) => log.debug({ error }, 'Redis connection lost again'));
  });

  const engine = new RedisPubSub({ publisher, subscriber: patientSubscriber(subscriber, log) });
  return {
    ...engineBus(engine, (error, what) => {
      if (what === 'listener') log.error({ error }, 'message of the bus not taken');
      else log.debug({ error }, 'wake-up not published');
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

/** How long to wait before asking again for a subscription that Redis did not take. Milliseconds. */
const RESUBSCRIBE_MS = 200;

/**
 * The subscriber as the engine is to see it. The engine drops a subscription that fails, and rejects promises that
 * nobody holds: so it is told of none. A failed one is asked for again for as long as there is a connection to come.
 */
function patientSubscriber(subscriber: Redis | Cluster, log: Log): Redis {
  const subscribe = (topic: string, onSubscribed: (error: null) => void): void => {
    subscriber
      .subscribe(topic)
      .then(() => onSubscribed(null))
      .catch((error: unknown) => {
        if (subscriber.status === 'end') return;
        log.debug({ error }, 'Redis did not take a subscription, asking again');
        setTimeout(() => subscribe(topic, onSubscribed), RESUBSCRIBE_MS).unref();
      });
  };
  const unsubscribe = (topic: string): void => {
    subscriber.unsubscribe(topic).catch((error: unknown) => log.debug({ error }, 'Redis did not end a subscription'));
  };
  const on = (event: string, listener: (topic: string, message: string) => void): void => {
    subscriber.on(event, (topic: string, message: string) => {
      // Before anybody takes the trouble of parsing it.
      if (topic !== topics.signals || message.length <= MAX_SIGNAL) listener(topic, message);
      else log.warn({ characters: message.length, limit: MAX_SIGNAL }, 'signal refused, it is too long');
    });
  };
  const faced: Record<'on' | 'subscribe' | 'unsubscribe' | 'punsubscribe', unknown> = {
    on,
    subscribe,
    unsubscribe,
    // Ours are names and never patterns; the engine ends both.
    punsubscribe: () => {},
  };
  return faced as unknown as Redis;
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
