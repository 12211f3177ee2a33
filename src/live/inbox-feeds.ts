import type { Database } from '../database/database.ts';
import { type InboxNotification, NOTIFICATION_COLUMNS } from '../inbox/notifications.ts';
import type { Owner } from '../inbox/owner.ts';
import { type Bus, topics } from './bus.ts';
import type { Batch, Feed } from './feed.ts';

/** The current state of a notification and the unread count at the same moment. */
export interface InboxChange {
  notification: InboxNotification;
  unreadCount: number;
}

export interface InboxFeeds {
  /** Returns a feed of notifications created after a position; without a position, from now on. */
  created(owner: Owner, afterSeq?: number): Promise<Feed<InboxNotification>>;
  /** Returns a feed of notifications created or changed after a position, each once, in its current state. */
  changed(owner: Owner, afterSeq?: number): Promise<Feed<InboxChange>>;
}

/** Maximum number of rows of one read for one reader. Bounds the memory of a subscription. */
const PAGE = 50;
/** Maximum number of readers in one statement. */
const MAX_READERS = 500;

/** Column that orders a feed. */
type Order = 'created_seq' | 'seq';

interface Request {
  owner: Owner;
  order: Order;
  /** Undefined to read only the state of the inbox, without rows. */
  after: number | undefined;
}

interface InboxRead {
  rows: InboxNotification[];
  lastSeq: number;
  unreadCount: number;
}

/**
 * Creates the feeds of inboxes. They read only the database; a wake-up just triggers a read. Replay after a reconnect,
 * catch-up after a lost wake-up and live reading are therefore the same. Concurrent reads share one statement.
 */
export function createInboxFeeds({ database, bus }: { database: Database; bus: Bus }): InboxFeeds {
  const read = batched((requests: Request[]) => readInboxes(database, requests));
  const gapListeners = new Set<() => void>();
  bus.onGap(() => {
    for (const listener of gapListeners) listener();
  });

  const listen =
    (topic: string) =>
    (listener: () => void): (() => void) => {
      gapListeners.add(listener);
      // Reads again when the subscription becomes active, because earlier changes sent no wake-up to this instance.
      const unsubscribe = bus.subscribe(topic, listener, listener);
      return () => {
        gapListeners.delete(listener);
        unsubscribe();
      };
    };

  const feed = async <Item>(
    owner: Owner,
    order: Order,
    afterSeq: number | undefined,
    toItem: (row: InboxNotification, read: InboxRead) => Item,
  ): Promise<Feed<Item>> => {
    const { tenantId, userId } = owner;
    const positionOf = (row: InboxNotification): number => (order === 'seq' ? row.seq : row.createdSeq);
    return {
      key: JSON.stringify(['inbox', order, tenantId, userId]),
      start: afterSeq ?? (await read({ owner, order, after: undefined })).lastSeq,
      hasPast: afterSeq !== undefined,
      listen: listen(topics.inbox(tenantId, userId)),
      read: async (after): Promise<Batch<Item>> => {
        const found = await read({ owner, order, after });
        const last = found.rows.at(-1);
        return {
          entries: found.rows.map((row) => ({ position: positionOf(row), item: toItem(row, found) })),
          position: last ? positionOf(last) : after,
          isMore: found.rows.length === PAGE,
        };
      },
    };
  };

  return {
    created: (owner, afterSeq) => feed(owner, 'created_seq', afterSeq, (row) => row),
    changed: (owner, afterSeq) =>
      feed(owner, 'seq', afterSeq, (notification, { unreadCount }) => ({ notification, unreadCount })),
  };
}

/** Combines the reads of one turn of the event loop. Equal requests share one answer. */
function batched(readAll: (requests: Request[]) => Promise<InboxRead[]>): (request: Request) => Promise<InboxRead> {
  let waiting = new Map<string, { request: Request; answer: PromiseWithResolvers<InboxRead> }>();

  const flush = (): void => {
    const asked = [...waiting.values()];
    waiting = new Map();
    for (let start = 0; start < asked.length; start += MAX_READERS) {
      const chunk = asked.slice(start, start + MAX_READERS);
      readAll(chunk.map(({ request }) => request))
        .then((answers) => {
          for (const [index, { answer }] of chunk.entries()) answer.resolve(answers[index] as InboxRead);
          return undefined;
        })
        .catch((error: unknown) => {
          for (const { answer } of chunk) answer.reject(error);
        });
    }
  };

  return (request) => {
    const { owner, order, after } = request;
    const key = JSON.stringify([order, after, owner.tenantId, owner.userId]);
    if (waiting.size === 0) setImmediate(flush);
    const known = waiting.get(key);
    if (known) return known.answer.promise;
    const answer = Promise.withResolvers<InboxRead>();
    waiting.set(key, { request, answer });
    return answer.promise;
  };
}

/** One query for many feeds: the read behind every live update. */
const readFeeds = (
  order: Order,
): string => `select feed.slot, coalesce(box.last_seq, 0) as "lastSeq", coalesce(box.unread_count, 0) as "unreadCount", n.*
  from unnest($1::int[], $2::text[], $3::text[], $4::bigint[]) as feed (slot, tenant_id, user_id, after)
  left join inbox box using (tenant_id, user_id)
  left join lateral (
    select ${NOTIFICATION_COLUMNS} from notification n
    where n.tenant_id = feed.tenant_id and n.user_id = feed.user_id and n.${order} > feed.after
    order by n.${order} limit ${PAGE}
  ) n on true
  order by feed.slot, n.${order === 'seq' ? 'seq' : '"createdSeq"'}`;

/**
 * Reads several inboxes. Rows and state of an inbox are from the same moment.
 * @returns answers in the order of requests.
 */
async function readInboxes(database: Database, requests: Request[]): Promise<InboxRead[]> {
  const answers: InboxRead[] = requests.map(() => ({ rows: [], lastSeq: 0, unreadCount: 0 }));
  const byOrder = Map.groupBy(requests.keys(), (slot) => requests[slot]?.order as Order);
  await database.asWorker(async (tx) => {
    for (const [order, slots] of byOrder) {
      const wanted = slots.map((slot) => requests[slot] as Request);
      const rows = await tx.query<InboxNotification & { slot: number; lastSeq: number; unreadCount: number }>(
        readFeeds(order),
        [
          slots,
          wanted.map(({ owner }) => owner.tenantId),
          wanted.map(({ owner }) => owner.userId),
          wanted.map(({ after }) => after ?? null),
        ],
      );
      for (const { slot, lastSeq, unreadCount, ...row } of rows) {
        const answer = answers[slot] as InboxRead;
        answer.lastSeq = lastSeq;
        answer.unreadCount = unreadCount;
        if (row.id !== null) answer.rows.push(row);
      }
    }
  });
  return answers;
}
