import type { Database } from '../database/database.ts';
import { type InboxNotification, NOTIFICATION_COLUMNS } from '../inbox/notifications.ts';
import type { Owner } from '../inbox/owner.ts';
import { type Bus, topics } from './bus.ts';
import type { Batch, Feed } from './feed.ts';

/** A notification in its newest state, and the unread count as it was when that was read. */
export interface InboxChange {
  notification: InboxNotification;
  unreadCount: number;
}

export interface InboxFeeds {
  /** Every notification that came into the inbox after a position. Without a position it starts now. */
  created(owner: Owner, afterSeq?: number): Promise<Feed<InboxNotification>>;
  /** Every notification that came in or was changed after a position, once, in its newest state. */
  changed(owner: Owner, afterSeq?: number): Promise<Feed<InboxChange>>;
}

/** Rows that one read takes for one reader: the bound of what a subscription holds in memory. */
const PAGE = 50;
/** Readers whose rows are read in one statement. */
const MAX_READERS = 500;

/** By which position a feed is ordered. */
type Order = 'created_seq' | 'seq';

interface Request {
  owner: Owner;
  order: Order;
  /** Undefined: no rows are wanted, only how the inbox stands. */
  after: number | undefined;
}

interface InboxRead {
  rows: InboxNotification[];
  lastSeq: number;
  unreadCount: number;
}

/**
 * Feeds read the database and nothing else: a wake-up only says that it is worth looking. Replay after a reconnect,
 * catching up after a lost wake-up and going on live are therefore the same read, for all readers that are due at
 * once in one statement.
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
      // Looks once more when the bus is there: what came before that woke nobody.
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

/** Joins the reads of one turn of the event loop, and gives the same answer to those that ask the same. */
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

/** @returns what each request asked for, in order; rows and the state of the inbox are of the same moment. */
async function readInboxes(database: Database, requests: Request[]): Promise<InboxRead[]> {
  const answers: InboxRead[] = requests.map(() => ({ rows: [], lastSeq: 0, unreadCount: 0 }));
  const byOrder = Map.groupBy(requests.keys(), (slot) => requests[slot]?.order as Order);
  await database.asWorker(async (tx) => {
    for (const [order, slots] of byOrder) {
      const wanted = slots.map((slot) => requests[slot] as Request);
      const rows = await tx.query<InboxNotification & { slot: number; lastSeq: number; unreadCount: number }>(
        `select feed.slot, coalesce(box.last_seq, 0) as "lastSeq", coalesce(box.unread_count, 0) as "unreadCount", n.*
         from unnest($1::int[], $2::text[], $3::text[], $4::bigint[]) as feed (slot, tenant_id, user_id, after)
         left join inbox box using (tenant_id, user_id)
         left join lateral (
           select ${NOTIFICATION_COLUMNS} from notification n
           where n.tenant_id = feed.tenant_id and n.user_id = feed.user_id and n.${order} > feed.after
           order by n.${order} limit ${PAGE}
         ) n on true
         order by feed.slot, n.${order === 'seq' ? 'seq' : '"createdSeq"'}`,
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
