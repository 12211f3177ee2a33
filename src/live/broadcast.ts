import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { type Batch, type Feed, readWithRetry } from './feed.ts';
import { createSignal, type Signal } from './signal.ts';

/** Receiver of a feed, e.g. one subscription on one socket. */
export interface Subscriber<Rendered> {
  /** Writes messages in order, without waiting. */
  write(messages: readonly Rendered[]): void;
  /** True when its send buffer is full. Messages are then dropped and read again later. */
  isFull(): boolean;
  /** Resolves when the buffer has space again or the subscriber is closed. */
  drained(): Promise<void>;
}

/** Renders items to messages. Operations with the same key render an item to the same message. */
export interface Operation<Item, Rendered> {
  key: string;
  render(item: Item): Promise<Rendered>;
}

export interface Broadcasts<Rendered> {
  /** Adds a subscriber to a feed. @param fail called when the feed fails. @returns a function that removes it. */
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
  /** Position up to which messages were written. */
  cursor: number;
  isGone: boolean;
}

/** Subscribers with the same feed and operation. Items are read and rendered once for all live members. */
interface Group<Item, Rendered> {
  key: string;
  feed: Feed<Item>;
  operation: Operation<Item, Rendered>;
  /** Members that have received everything up to `position`. The others catch up with separate reads. */
  live: Set<Member<Item, Rendered>>;
  size: number;
  position: number;
  woken: Signal;
  isReading: boolean;
  isOver: boolean;
}

/** Interval of reads without a wake-up, in milliseconds, because a wake-up can be lost unnoticed. */
const SWEEP_MS = 15_000;

/**
 * Distributes feeds to many subscribers. A subscriber is *behind* while it replays past items or when it reads too
 * slowly. It then reads its batches separately, one at a time. When it has reached the position of its group, it becomes
 * *live*: the group reads and renders each batch once for all live members.
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
        // Removed now, so that a new subscriber starts a new group.
        group.isOver = true;
        if (groups.get(group.key) === group) groups.delete(group.key);
        group.woken.raise();
      };
    },
    close: () => clearInterval(sweep),
  };
}

/** Makes a member live. @returns false when the group is ahead of the member. */
function goLive<Item, Rendered>(group: Group<Item, Rendered>, member: Member<Item, Rendered>): boolean {
  // A group without live members does not read, so it continues at the position of this member.
  if (group.live.size === 0 && !group.isReading) group.position = member.cursor;
  if (member.cursor < group.position) return false;
  group.live.add(member);
  // Reads items that arrived between the member's last read and now.
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
      const batch = await readWithRetry(feed, position, { log, isStopped: () => group.isOver });
      const messages = await renderAll(group, batch);
      for (const member of group.live) {
        if (member.subscriber.isFull()) {
          group.live.delete(member);
          void catchUp(group, member, log);
        } else {
          deliver(member, batch, messages);
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
      const batch = await readWithRetry(member.feed, member.cursor, { log, isStopped: () => member.isGone });
      const messages = await renderAll(group, batch);
      if (member.isGone) return;
      // Other subscriptions on the same socket filled the buffer meanwhile. This batch is dropped and read again.
      if (member.subscriber.isFull()) continue;
      deliver(member, batch, messages);
      if (!batch.isMore && goLive(group, member)) return;
    }
  } catch (error) {
    if (!member.isGone) failOne(member, error, log);
  }
}

const renderAll = <Item, Rendered>(group: Group<Item, Rendered>, batch: Batch<Item>): Promise<Rendered[]> =>
  Promise.all(batch.entries.map(({ item }) => group.operation.render(item)));

function deliver<Item, Rendered>(member: Member<Item, Rendered>, batch: Batch<Item>, messages: Rendered[]): void {
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
  if (!(error instanceof AppError)) log.error({ error }, 'subscription ended, its feed failed');
  member.fail(error);
}
