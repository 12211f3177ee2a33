/**
 * Bounded buffer of the most recent values of a topic without stored history. Lets readers lag behind to some extent.
 */
export interface Recent<Value> {
  /** Position of the newest value. */
  readonly end: number;
  /** Values at or before this position have been dropped. */
  readonly lostUpTo: number;
  add(value: Value, size?: number): void;
  /** Drops all values, e.g. after a gap. */
  forget(): void;
  after(position: number, limit: number): { position: number; value: Value }[];
}

export interface RecentLimits {
  maxCount: number;
  /** Maximum sum of the sizes given to `add`. */
  maxSize?: number;
}

export function createRecent<Value>({ maxCount, maxSize = Infinity }: RecentLimits): Recent<Value> {
  let values: { value: Value; size: number }[] = [];
  /** Number of dropped values at the start of the array. They are removed from the array occasionally. */
  let gone = 0;
  let end = 0;
  let total = 0;
  const lostUpTo = (): number => end - (values.length - gone);

  return {
    get end() {
      return end;
    },
    get lostUpTo() {
      return lostUpTo();
    },
    add: (value, size = 0) => {
      values.push({ value, size });
      end += 1;
      total += size;
      while (values.length - gone > maxCount || (total > maxSize && values.length - gone > 1)) {
        total -= values[gone]?.size ?? 0;
        gone += 1;
      }
      if (gone > maxCount) {
        values = values.slice(gone);
        gone = 0;
      }
    },
    forget: () => {
      values = [];
      gone = 0;
      total = 0;
    },
    after: (position, limit) => {
      const from = Math.max(position, lostUpTo());
      const index = gone + (from - lostUpTo());
      return values.slice(index, index + limit).map(({ value }, offset) => ({ position: from + offset + 1, value }));
    },
  };
}
