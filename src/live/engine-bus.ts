import type { PubSubEngine } from 'graphql-subscriptions';

import type { Bus } from './bus.ts';

/**
 * The half of a bus that any graphql-subscriptions engine gives. Its callbacks are used and not its iterators: those
 * queue without a bound for a reader that is slow.
 */
export function engineBus(
  engine: PubSubEngine,
  onError?: (error: unknown) => void,
): Pick<Bus, 'publish' | 'subscribe'> {
  return {
    publish: (topic, message) => {
      engine.publish(topic, message).catch((error: unknown) => onError?.(error));
    },
    subscribe: (topic, listener, onReady) => {
      const subscribed = engine.subscribe(topic, listener, {});
      subscribed.then(onReady).catch((error: unknown) => onError?.(error));
      return () => {
        subscribed.then((id) => engine.unsubscribe(id)).catch((error: unknown) => onError?.(error));
      };
    },
  };
}
