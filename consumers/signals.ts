import { type Bus, topics } from '../src/live/bus.ts';
import type { Signal, TopicFeeds } from '../src/live/topic-feeds.ts';
import type { Log } from '../src/log.ts';
import { EventRefused } from './events/event.ts';
import { eventValidator } from './events/validate.ts';

const validate = eventValidator<Signal>('signal.emit');

/**
 * Receives messages of other services from the Redis channel `signal:emit` and pushes them to open subscriptions. Best
 * effort: an invalid message is logged without its content and dropped.
 *
 * @returns a function that stops listening.
 */
export function listenToSignals(options: { bus: Bus; topicFeeds: TopicFeeds; log: Log }): () => void {
  const { bus, topicFeeds, log } = options;
  return bus.subscribe(topics.signals, (message) => {
    try {
      topicFeeds.push(validate(message));
    } catch (error) {
      if (!(error instanceof EventRefused)) throw error;
      log.warn({ problem: error.message }, 'signal refused, it is invalid');
    }
  });
}
