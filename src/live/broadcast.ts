import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { type Batch, type Feed, readPatiently } from './feed.ts';
import { createSignal, type Signal } from './signal.ts';

/** Who gets what a feed gives, e.g. one subscription on one socket. */
export interface Subscriber<Rendered> {
  /** Takes messages in order, at once. */
  write(messages: readonly Rendered[]): void;
  /** More is waiting to be sent than it should hold: whatever comes is read again later. */
  isFull(): boolean;
  /** Resolves when there is room again, or nobody is there any more; not at once as long as it is full. */
  drained(): Promise<void>;
}

/** How items become messages. Two operations of the same key make the same message of the same item. */
export interface Operation<Item, Rendered> {
  key: string;
  render(item: Item): Promise<Rendered>;
}

export interface Broadcasts<Rendered> {
  /** @param fail called where the feed has ended for this subscriber. @returns a function that ends it. */
  join<Item>(
    feed: Feed<Item>,
    operation: Operation<Item, Rendered>,
    subscriber: Subscriber<Rendered>,
    fail: (error: unknown) => void,
  ): () => void;
  close(): void;
}

interface Member<Item, Rendered> {
  feed: Feed<Item>;
  subscriber: Subscriber<Rendered>;
  fail: (error: unknown) => void;
  /** What it was given last. */
  cursor: number;
  isGone: boolean;
}

/** Subscribers to whom the same is said: one read, one rendering, one message for all that are not behind. */
interface Group<Item, Rendered> {
  key: string;
  feed: Feed<Item>;
  operation: Operation<Item, Rendered>;
  /** Those that have everything up to `position`. The others read for themselves until they do. */
  live: Set<Member<Item, Rendered>>;
  size: number;
  position: number;
  woken: Signal;
  isReading: boolean;
  isOver: boolean;
}

/** Every feed looks for itself now and then: a wake-up can be lost with nobody noticing. Milliseconds. */
const SWEEP_MS = 15_000;

/**
 * Says what feeds give to many subscribers. A subscriber is *behind* while it replays its past, or because it reads too
 * slowly: then it reads for itself, at its own pace, and holds one batch. Once it has what its group has, it goes *live*
 * and is given what the group reads and renders once for all.
 */
export function createBroadcasts<Rendered>({ log }: { log: Log }): Broadcasts<Rendered> {
  type AnyGroup = Group<unknown, Rendered>;
  type AnyMember = Member<unknown, Rendered>;
  const groups = new Map<string, AnyGroup>();

  const sweep = setInterval(() => {
    for (const group of groups.values()) group.woken.raise();
  }, SWEEP_MS).unref();

  const groupOf = (feed: Feed<unknown>, operation: Operation<unknown, Rendered>): AnyGroup => {
    const key = `${feed.key}\n${operation.key}`;
    const existing = groups.get(key);
    if (existing) return existing;
    const woken = createSignal();
    const end = feed.listen(woken.raise);
    const group: AnyGroup = {
      key,
      feed,
      operation,
      live: new Set(),
      size: 0,
      position: feed.start,
      woken,
      isReading: false,
      isOver: false,
    };
    groups.set(key, group);
    void runGroup(group, log).finally(() => {
      end();
      if (groups.get(key) === group) groups.delete(key);
    });
    return group;
  };

  return {
    join: (feed, operation, subscriber, fail) => {
      const group = groupOf(feed as Feed<unknown>, operation as Operation<unknown, Rendered>);
      const member: AnyMember = { feed: feed as Feed<unknown>, subscriber, fail, cursor: feed.start, isGone: false };
      group.size += 1;
      if (feed.hasPast || !goLive(group, member)) void catchUp(group, member, log);
      return () => {
        if (member.isGone) return;
        member.isGone = true;
        group.live.delete(member);
        group.size -= 1;
        if (group.size > 0) return;
        // Nobody joins what is about to end.
        group.isOver = true;
        if (groups.get(group.key) === group) groups.delete(group.key);
        group.woken.raise();
      };
    },
    close: () => clearInterval(sweep),
  };
}

/** @returns false where the group is ahead of the member. */
function goLive<Item, Rendered>(group: Group<Item, Rendered>, member: Member<Item, Rendered>): boolean {
  // With nobody live the group stood still, and goes on from where this member is.
  if (group.live.size === 0 && !group.isReading) group.position = member.cursor;
  if (member.cursor < group.position) return false;
  group.live.add(member);
  // What came since the member read, and before it was here to be told.
  group.woken.raise();
  return true;
}

async function runGroup<Item, Rendered>(group: Group<Item, Rendered>, log: Log): Promise<void> {
  while (!group.isOver) {
    await group.woken.wait();
    if (group.isOver || group.live.size === 0) continue;
    group.isReading = true;
    try {
      const { feed, position } = group;
      const batch = await readPatiently(feed, position, { log, isStopped: () => group.isOver });
      const messages = await renderAll(group, batch);
      for (const member of group.live) {
        if (member.subscriber.isFull()) {
          group.live.delete(member);
          void catchUp(group, member, log);
        } else {
          give(member, batch, messages);
        }
      }
      group.position = batch.position;
      if (batch.isMore) group.woken.raise();
    } catch (error) {
      if (group.isOver) return;
      failAll(group, error, log);
    } finally {
      group.isReading = false;
    }
  }
}

async function catchUp<Item, Rendered>(
  group: Group<Item, Rendered>,
  member: Member<Item, Rendered>,
  log: Log,
): Promise<void> {
  try {
    for (;;) {
      while (!member.isGone && member.subscriber.isFull()) await member.subscriber.drained();
      if (member.isGone) return;
      const batch = await readPatiently(member.feed, member.cursor, { log, isStopped: () => member.isGone });
      const messages = await renderAll(group, batch);
      if (member.isGone) return;
      // Others that send to the same place took the room meanwhile: this is let go of, and read again.
      if (member.subscriber.isFull()) continue;
      give(member, batch, messages);
      if (!batch.isMore && goLive(group, member)) return;
    }
  } catch (error) {
    if (!member.isGone) failOne(member, error, log);
  }
}

const renderAll = <Item, Rendered>(group: Group<Item, Rendered>, batch: Batch<Item>): Promise<Rendered[]> =>
  Promise.all(batch.entries.map(({ item }) => group.operation.render(item)));

function give<Item, Rendered>(member: Member<Item, Rendered>, batch: Batch<Item>, messages: Rendered[]): void {
  const { feed, cursor, subscriber } = member;
  const { entries } = batch;
  const isAll = !feed.accepts && (entries[0]?.position ?? Infinity) > cursor;
  const own = isAll
    ? messages
    : messages.filter((_message, index) => {
        const { position, item } = entries[index] as (typeof entries)[number];
        return position > cursor && (feed.accepts?.(item) ?? true);
      });
  member.cursor = Math.max(cursor, batch.position);
  if (own.length > 0) subscriber.write(own);
}

function failAll<Item, Rendered>(group: Group<Item, Rendered>, error: unknown, log: Log): void {
  for (const member of group.live) failOne(member, error, log);
  group.live.clear();
}

function failOne<Item, Rendered>(member: Member<Item, Rendered>, error: unknown, log: Log): void {
  if (!(error instanceof AppError)) log.error({ error }, 'feed given up');
  member.fail(error);
}
