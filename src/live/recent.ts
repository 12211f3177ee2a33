/** What was said last on a topic that has no past: a bounded stretch of it, so that a reader may take its time. */
export interface Recent<Value> {
  /** Position of the newest value. */
  readonly end: number;
  /** Values at or before this position are gone. */
  readonly lostUpTo: number;
  add(value: Value, size?: number): void;
  /** Forgets everything, e.g. since something may have been missed. */
  forget(): void;
  after(position: number, limit: number): { position: number; value: Value }[];
}

export interface RecentLimits {
  maxCount: number;
  /** Sum of the sizes that values were added with. */
  maxSize?: number;
}

export function createRecent<Value>({ maxCount, maxSize = Infinity }: RecentLimits): Recent<Value> {
  let values: { value: Value; size: number }[] = [];
  /** How many at the beginning of the array are gone: they are cut off now and then. */
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
