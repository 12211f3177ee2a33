import type { PubSubEngine } from 'graphql-subscriptions';

import type { Bus } from './bus.ts';

/**
 * The half of a bus that any graphql-subscriptions engine gives. Its callbacks are used and not its iterators: those
 * queue without a bound for a reader that is slow.
 */
export function engineBus(
  engine: PubSubEngine,
  onError?: (error: unknown, what: 'engine' | 'listener') => void,
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
