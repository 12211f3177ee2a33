/** Lets a number of holders in at once; the others wait in order. */
export interface Semaphore {
  enter(): Promise<void>;
  leave(): void;
  /** Lets everybody in who waits, however many places there are: for when there is nothing to do inside any more. */
  open(): void;
}

export function createSemaphore(places: number): Semaphore {
  let free = places;
  const waiting: (() => void)[] = [];
  return {
    enter: async () => {
      if (free > 0) free -= 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
    },
    leave: () => {
      const next = waiting.shift();
      if (next) next();
      else free += 1;
    },
    open: () => {
      for (const enter of waiting.splice(0)) enter();
    },
  };
}
