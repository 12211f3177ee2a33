/** What a subscriber pulls from: gives the next items, waiting for them, until it is stopped. */
export interface Source<Item> {
  /** Resolves with items in order, possibly none; may take as long as it needs. */
  next(): Promise<Item[]>;
  /** Makes a pending `next` resolve soon, and frees what the source holds. */
  stop(): void;
}

/**
 * An async iterator over a source. Unlike an async generator its `return` works while a `next` is pending, so a
 * subscription that waits can be ended at once. It holds what one `next` of the source gave, and no more: a reader
 * that is slow asks later, and nothing piles up.
 */
export function pullIterator<Item>(source: Source<Item>): AsyncIterableIterator<Item> {
  let items: Item[] = [];
  let isDone = false;
  let reading: Promise<IteratorResult<Item>> = Promise.resolve({ done: false, value: undefined as Item });

  const read = async (): Promise<IteratorResult<Item>> => {
    while (!isDone) {
      const item = items.shift();
      if (item !== undefined) return { done: false, value: item };
      try {
        items = await source.next();
      } catch (error) {
        finish();
        throw error;
      }
    }
    return { done: true, value: undefined };
  };
  const finish = (): void => {
    if (isDone) return;
    isDone = true;
    items = [];
    source.stop();
  };

  return {
    next: () => (reading = reading.then(read, read)),
    return: async () => {
      finish();
      return { done: true, value: undefined };
    },
    throw: async (error: unknown) => {
      finish();
      throw error;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
