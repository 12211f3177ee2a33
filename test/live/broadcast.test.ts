import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type Broadcasts, createBroadcasts, type Subscriber } from '../../src/live/broadcast.ts';
import { type Feed, follow } from '../../src/live/feed.ts';
import { createLog } from '../../src/log.ts';

const log = createLog('silent');
const PAGE = 3;

interface Item {
  id: number;
  /** Incremented by every change. */
  version: number;
}

/** A model of an inbox: items are added and changed, and each change moves its item to the end. */
function createSource(scheduler: fc.Scheduler) {
  const history: Item[] = [];
  const listeners = new Set<() => void>();
  const placeOf = ({ id, version }: Item): number =>
    history.findIndex((item) => item.id === id && item.version === version) + 1;
  /** Returns the items after a position, in their current state. */
  const standing = (after: number): Item[] =>
    history.filter(
      (item, index) => index >= after && !history.some(({ id, version }) => id === item.id && version > item.version),
    );
  return {
    listeners,
    placeOf,
    standing,
    get last() {
      return history.length;
    },
    change: (id: number): void => {
      history.push({ id, version: history.filter((item) => item.id === id).length + 1 });
    },
    wake: (): void => {
      for (const listener of listeners) listener();
    },
    feed: (start: number, hasPast: boolean, accepts?: (item: Item) => boolean): Feed<Item> => ({
      key: 'source',
      start,
      hasPast,
      ...(accepts && { accepts }),
      listen: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      // The answer is the state at some moment between request and reply.
      read: async (after) => {
        await scheduler.schedule(Promise.resolve(), 'asked');
        const entries = standing(after)
          .slice(0, PAGE)
          .map((item) => ({ item, position: placeOf(item) }));
        await scheduler.schedule(Promise.resolve(), 'answered');
        return { entries, position: entries.at(-1)?.position ?? after, isMore: entries.length === PAGE };
      },
    }),
  };
}
type Source = ReturnType<typeof createSource>;

/** Runs everything that does not wait for the scheduler. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Resumes this number of tasks that wait for the scheduler, or all. */
async function run(scheduler: fc.Scheduler, count = Infinity): Promise<void> {
  await settle();
  for (let left = count; left > 0 && scheduler.count() > 0; left -= 1) {
    await scheduler.waitNext(1);
    await settle();
  }
}

const change = fc.record({ kind: fc.constant('change' as const), id: fc.nat(30), isHeard: fc.boolean() });
const step = fc.record({ kind: fc.constant('step' as const), count: fc.integer({ min: 1, max: 6 }) });
const join = fc.record({
  kind: fc.constant('join' as const),
  /** Distance of its start from the end of the feed. */
  behind: fc.nat(8),
  hasPast: fc.boolean(),
  /** The operation. Subscribers may share it. */
  socket: fc.nat(2),
  operation: fc.constantFrom('a', 'b'),
  isPicky: fc.boolean(),
});
const leave = fc.record({ kind: fc.constant('leave' as const), which: fc.nat(8) });
const script = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: change },
    { weight: 5, arbitrary: step },
    { weight: 2, arbitrary: join },
    { weight: 1, arbitrary: leave },
  ),
  { minLength: 5, maxLength: 60 },
);
type Join = typeof join extends fc.Arbitrary<infer Command> ? Command : never;

interface Message extends Item {
  by: string;
}

/** A subscriber and the messages it has received. */
interface Watcher {
  start: number;
  accepts: (item: Item) => boolean;
  seen: Item[];
  failure?: unknown;
  hasLeft: boolean;
  leave(): void;
}

/** Writes some messages immediately and the others when the scheduler decides. */
interface SocketWriter {
  held: number;
  capacity: number;
}

function enter(
  broadcasts: Broadcasts<Message>,
  source: Source,
  scheduler: fc.Scheduler,
  writer: SocketWriter,
  { behind, hasPast, operation, isPicky }: Join,
): Watcher {
  const start = Math.max(0, source.last - behind);
  const accepts = ({ id }: Item): boolean => !isPicky || id % 2 === 0;
  const watcher: Watcher = { start, accepts, seen: [], hasLeft: false, leave: () => {} };
  const subscriber: Subscriber<Message> = {
    write: (messages) => {
      // Nothing is written while the buffer is full.
      expect(writer.held).toBeLessThan(writer.capacity);
      writer.held += messages.length;
      expect(new Set(messages.map(({ by }) => by))).toEqual(new Set([operation]));
      watcher.seen.push(...messages.map(({ id, version }) => ({ id, version })));
    },
    isFull: () => writer.held >= writer.capacity,
    drained: async () => {
      await scheduler.schedule(Promise.resolve(), 'drained');
      writer.held = 0;
    },
  };
  const render = async (item: Item): Promise<Message> => {
    await scheduler.schedule(Promise.resolve(), 'rendered');
    return { ...item, by: operation };
  };
  const feed = source.feed(start, hasPast, isPicky ? accepts : undefined);
  const fail = (error: unknown): void => void (watcher.failure = error);
  watcher.leave = broadcasts.join(feed, { key: operation, render }, subscriber, fail);
  return watcher;
}

describe('createBroadcasts', () => {
  it('delivers to each subscriber every change after its cursor, once and in order, under all interleavings', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), script, async (scheduler, commands) => {
        const source = createSource(scheduler);
        const broadcasts = createBroadcasts<Message>({ log });
        const watchers: Watcher[] = [];
        const outlets: SocketWriter[] = [1, 3, 6].map((capacity) => ({ held: 0, capacity }));
        for (const command of commands) {
          switch (command.kind) {
            case 'change':
              source.change(command.id);
              if (command.isHeard) source.wake();
              break;
            case 'step':
              await run(scheduler, command.count);
              break;
            case 'join':
              watchers.push(enter(broadcasts, source, scheduler, outlets[command.socket] as SocketWriter, command));
              break;
            case 'leave': {
              const watcher = watchers[command.which];
              if (watcher) watcher.hasLeft = true;
              watcher?.leave();
            }
          }
        }
        // The periodic read, for lost wake-ups.
        source.wake();
        await run(scheduler);

        for (const { start, accepts, seen, failure, hasLeft } of watchers) {
          expect(failure).toBeUndefined();
          const places = seen.map((item) => source.placeOf(item));
          expect(places, 'once, and in the order in which it happened').toEqual(
            [...new Set(places)].toSorted((a, b) => a - b),
          );
          expect(Math.min(start + 1, ...places), 'nothing of before').toBe(start + 1);
          const due = hasLeft ? [] : source.standing(start).filter(accepts);
          expect(seen, 'everything, in its newest state').toEqual(expect.arrayContaining(due));
        }
        for (const { leave } of watchers) leave();
        await run(scheduler);
        expect(source.listeners.size, 'number of listeners after all subscribers have left').toBe(0);
        broadcasts.close();
      }),
      { numRuns: 2_000 },
    );
  });

  it('delivers the same items to a reader that iterates over the feed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), script, fc.nat(8), async (scheduler, commands, behind) => {
        const source = createSource(scheduler);
        for (let id = 0; id < 8; id += 1) source.change(id);
        const start = source.last - behind;
        let ends = 0;
        const items = follow(source.feed(start, true), { log, watch: () => () => (ends += 1) });
        const seen: Item[] = [];
        let asked: Promise<void> | undefined;
        const ask = (): void => {
          asked ??= items.next().then(({ done, value }) => {
            asked = undefined;
            if (!done) seen.push(value);
            return undefined;
          });
        };
        for (const command of commands) {
          if (command.kind === 'change') {
            source.change(command.id);
            if (command.isHeard) source.wake();
          } else if (command.kind === 'step') await run(scheduler, command.count);
          else ask();
        }
        source.wake();
        for (let left = source.last + 1; left > 0; left -= 1) {
          ask();
          await run(scheduler);
        }
        const places = seen.map((item) => source.placeOf(item));
        expect(places).toEqual([...new Set(places)].toSorted((a, b) => a - b));
        expect(Math.min(start + 1, ...places)).toBe(start + 1);
        expect(seen).toEqual(expect.arrayContaining(source.standing(start)));
        await items.return?.();
        await asked;
        expect([source.listeners.size, ends]).toEqual([0, 1]);
      }),
    );
  });
});
