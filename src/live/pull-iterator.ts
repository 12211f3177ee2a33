/** Source of a {@link pullIterator}. */
export interface Source<Item> {
  /** Waits for the next items and returns them in order. May return an empty list. */
  next(): Promise<Item[]>;
  /** Makes a pending `next` resolve soon and releases resources. */
  stop(): void;
}

/**
 * Returns an async iterator over a source. Unlike that of an async generator, its `return` works while a `next` is
 * pending, so that a waiting subscription can be ended immediately. It buffers only the result of one `next` of the
 * source, so that a slow reader does not fill memory.
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
