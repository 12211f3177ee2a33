import { setTimeout as delay } from 'node:timers/promises';

import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { pullIterator } from './pull-iterator.ts';
import { createSignal } from './signal.ts';

/** An item and where it stands in its feed. */
export interface Entry<Item> {
  position: number;
  item: Item;
}

export interface Batch<Item> {
  /** In order of their positions. */
  entries: Entry<Item>[];
  /** Where the next read goes on; at least that of the last entry. */
  position: number;
  /** There is more to be read already. */
  isMore: boolean;
}

/**
 * A stream of items in a lasting order, as one reader is to see it. Replay, catching up and going on live are the same
 * read: whoever knows a position can ask for what comes after it.
 */
export interface Feed<Item> {
  /** Feeds of the same key give the same items at the same positions. */
  key: string;
  /** Where this reader begins; asked for once it listens. */
  readonly start: number;
  /** There may be something after the start already. */
  hasPast: boolean;
  /** @throws {AppError} when what comes after this position can not be had any more. */
  read(after: number): Promise<Batch<Item>>;
  /** Calls back whenever there may be more. @returns a function that ends it. */
  listen(listener: () => void): () => void;
  /** Whether this reader is to see an item; absent: every one. */
  accepts?: (item: Item) => boolean;
}

/** The same feed with other items, which are like those of another only where it has the same name. */
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

/** How long to wait before reading again what could not be read. Milliseconds. */
const RETRY_MS = 500;

/** Reads until it succeeds: an outage of the database delays a feed and does not end it. */
export async function readPatiently<Item>(
  feed: Feed<Item>,
  after: number,
  { log, isStopped }: { log: Log; isStopped: () => boolean },
): Promise<Batch<Item>> {
  for (;;) {
    try {
      return await feed.read(after);
    } catch (error) {
      if (error instanceof AppError || isStopped()) throw error;
      log.warn({ error }, 'feed not read, trying again');
      await delay(RETRY_MS, undefined, { ref: false });
    }
  }
}

export interface FollowOptions {
  log: Log;
  /** Calls back when the reader may read no more, with the reason. @returns a function that ends the watch. */
  watch: (onEnd: (reason: AppError) => void) => () => void;
}

/** A feed for one reader that asks for item after item, and to whom nothing is read ahead but one batch. */
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
      const batch = await readPatiently(feed, cursor, { log, isStopped: () => isStopped });
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
