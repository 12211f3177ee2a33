import { type Feed, follow } from '../../src/live/feed.ts';
import { type GraphContext, signedIn } from '../server/context.ts';

/**
 * Result of a subscription field. A transport can share its feed among subscribers, or iterate over it for a single
 * one. The iterator ends when the subscriber's token expires or is revoked.
 */
export class LiveSource<Item> implements AsyncIterable<Item> {
  readonly feed: Feed<Item>;
  readonly #context: GraphContext;

  constructor(feed: Feed<Item>, context: GraphContext) {
    this.feed = feed;
    this.#context = context;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Item> {
    const { core } = this.#context;
    const actor = signedIn(this.#context);
    return follow(this.feed, { log: core.log, watch: (onEnd) => core.access.watch(actor, onEnd) });
  }
}
