import { setTimeout as delay } from 'node:timers/promises';

import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { pullIterator } from './pull-iterator.ts';
import { createSignal } from './signal.ts';

/** An item and its position in the feed. */
export interface Entry<Item> {
  position: number;
  item: Item;
}

export interface Batch<Item> {
  /** Ordered by position. */
  entries: Entry<Item>[];
  /** Start of the next read. Not less than the position of the last entry. */
  position: number;
  /** True when more items are available now. */
  isMore: boolean;
}

/**
 * A stream of items in a stable order, for one reader. Replay, catch-up and live reading are the same operation: a read
 * of the items after a position.
 */
export interface Feed<Item> {
  /** Feeds with the same key have the same items at the same positions. */
  key: string;
  /** Position at which this reader starts. Read it only after calling `listen`. */
  readonly start: number;
  /** True when there may already be items after the start. */
  hasPast: boolean;
  /** Reads the next items after a position. @throws {AppError} when they are not available any more. */
  read(after: number): Promise<Batch<Item>>;
  /** Adds a listener that is called when there may be new items. @returns a function that removes it. */
  listen(listener: () => void): () => void;
  /** Returns whether this reader may see an item. If absent, it may see every item. */
  accepts?: (item: Item) => boolean;
}

/** Maps the items of a feed. Feeds that are mapped in different ways must have different names. */
export function mapFeed<Item, Other>(feed: Feed<Item>, name: string, map: (item: Item) => Other): Feed<Other> {
  const { key, start, hasPast, listen } = feed;
  return {
    key: JSON.stringify([key, name]),
    start,
    hasPast,
    listen,
    read: async (after) => {
      const { entries, ...rest } = await feed.read(after);
      return { ...rest, entries: entries.map(({ position, item }) => ({ position, item: map(item) })) };
    },
  };
}

/** Delay before a failed read is repeated, in milliseconds. */
const RETRY_MS = 500;

/** Reads, and repeats failed reads. An outage of the database therefore delays a feed but does not end it. */
export async function readWithRetry<Item>(
  feed: Feed<Item>,
  after: number,
  { log, isStopped }: { log: Log; isStopped: () => boolean },
): Promise<Batch<Item>> {
  for (;;) {
    try {
      return await feed.read(after);
    } catch (error) {
      if (error instanceof AppError || isStopped()) throw error;
      log.warn({ error }, 'reading a feed failed, trying again');
      await delay(RETRY_MS, undefined, { ref: false });
    }
  }
}

export interface FollowOptions {
  log: Log;
  /** Calls `onEnd` with the reason when the reader loses access. @returns a function that stops watching. */
  watch: (onEnd: (reason: AppError) => void) => () => void;
}

/** Returns an iterator over a feed. It reads ahead at most one batch. */
export function follow<Item>(feed: Feed<Item>, { log, watch }: FollowOptions): AsyncIterableIterator<Item> {
  const woken = createSignal();
  let isStopped = false;
  let failure: AppError | undefined;
  const endListening = feed.listen(woken.raise);
  const endWatching = watch((reason) => {
    failure = reason;
    woken.raise();
  });
  let cursor = feed.start;
  woken.raise();
  return pullIterator<Item>({
    next: async () => {
      await woken.wait();
      if (failure) throw failure;
      if (isStopped) return [];
      const batch = await readWithRetry(feed, cursor, { log, isStopped: () => isStopped });
      cursor = batch.position;
      if (batch.isMore) woken.raise();
      const items = batch.entries.map(({ item }) => item);
      return feed.accepts ? items.filter(feed.accepts) : items;
    },
    stop: () => {
      isStopped = true;
      endListening();
      endWatching();
      woken.raise();
    },
  });
}
