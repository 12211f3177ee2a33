import { type Feed, follow } from '../../src/live/feed.ts';
import { type GraphContext, signedIn } from '../server/context.ts';

/**
 * What a subscription field gives: a feed that a transport may hand to many at once, or follow for one alone, item by
 * item. Followed, it ends when the token of whoever subscribed is good no more, on every transport alike.
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
