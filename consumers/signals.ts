import { type Bus, topics } from '../src/live/bus.ts';
import type { Signal, TopicFeeds } from '../src/live/topic-feeds.ts';
import type { Log } from '../src/log.ts';
import { EventRefused } from './events/event.ts';
import { eventValidator } from './events/validate.ts';

const validate = eventValidator<Signal>('signal.emit');

/**
 * The door for what other services push to open subscriptions, over Redis (`signal:emit`). It is best effort: what is
 * wrong is said in the log, without its content, and nothing is kept.
 *
 * @returns a function that closes it.
 */
export function listenToSignals(options: { bus: Bus; topicFeeds: TopicFeeds; log: Log }): () => void {
  const { bus, topicFeeds, log } = options;
  return bus.subscribe(topics.signals, (message) => {
    try {
      topicFeeds.push(validate(message));
    } catch (error) {
      if (!(error instanceof EventRefused)) throw error;
      log.warn({ problem: error.message }, 'signal refused');
    }
  });
}
