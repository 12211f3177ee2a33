/** Bounds the number of concurrent holders. Others wait in first-in, first-out order. */
export interface Semaphore {
  acquire(): Promise<void>;
  release(): void;
  /** Admits all waiting callers at once, without regard to the capacity. Used on shutdown. */
  open(): void;
}

export function createSemaphore(capacity: number): Semaphore {
  let free = capacity;
  const waiting: (() => void)[] = [];
  return {
    acquire: async () => {
      if (free > 0) free -= 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
    },
    release: () => {
      const next = waiting.shift();
      if (next) next();
      else free += 1;
    },
    open: () => {
      for (const admit of waiting.splice(0)) admit();
    },
  };
}
