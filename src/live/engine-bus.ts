import type { PubSubEngine } from 'graphql-subscriptions';

import type { Bus } from './bus.ts';

/**
 * Implements publish and subscribe of a bus with any graphql-subscriptions engine. It uses the engine's callbacks,
 * because its iterators queue without limit for a slow reader.
 */
export function engineBus(
  engine: PubSubEngine,
  onError?: (error: unknown, source: 'engine' | 'listener') => void,
): Pick<Bus, 'publish' | 'subscribe'> {
  return {
    publish: (topic, message) => {
      engine.publish(topic, message).catch((error: unknown) => onError?.(error, 'engine'));
    },
    subscribe: (topic, listener, onReady) => {
      const listenSafely = (message: unknown): void => {
        try {
          listener(message);
        } catch (error) {
          onError?.(error, 'listener');
        }
      };
      const subscribed = engine.subscribe(topic, listenSafely, {});
      subscribed.then(onReady).catch((error: unknown) => onError?.(error, 'engine'));
      return () => {
        subscribed.then((id) => engine.unsubscribe(id)).catch((error: unknown) => onError?.(error, 'engine'));
      };
    },
  };
}
