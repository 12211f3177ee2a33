import type { Database } from '../database/database.ts';
import { type InboxNotification, NOTIFICATION_COLUMNS, type Owner } from '../inbox/notifications.ts';
import type { Log } from '../log.ts';
import { type Bus, topics } from './bus.ts';
import { pullIterator } from './pull-iterator.ts';
import { createSignal, type Signal } from './signal.ts';

export interface InboxFeeds {
  /**
   * Every notification that came into the inbox after a position, once and in order: first what is there already,
   * then what comes. Without a position it starts now.
   */
  created(owner: Owner, afterSeq?: number): Promise<AsyncIterableIterator<InboxNotification>>;
  close(): void;
}

/** One open subscription: what it has given out, and whether there may be more. */
interface Reader {
  owner: Owner;
  cursor: number;
  woken: Signal;
}

/** Rows that one read takes for one reader: the bound of what a subscription holds in memory. */
const PAGE = 50;
/** A wake-up can be lost with nobody noticing; every feed looks for itself now and then. Milliseconds. */
const SWEEP_MS = 15_000;

/**
 * Feeds read the database and nothing else: a wake-up only says that it is worth looking. Replay after a reconnect,
 * catching up after a lost wake-up and going on live are therefore the same read, for all readers that are due at
 * once in one statement.
 */
export function createInboxFeeds({ database, bus, log }: { database: Database; bus: Bus; log: Log }): InboxFeeds {
  const readers = new Set<Reader>();
  let queue: { reader: Reader; resolve: (rows: InboxNotification[]) => void; reject: (error: unknown) => void }[] = [];

  /** Joins the reads of this turn of the event loop. */
  const read = (reader: Reader): Promise<InboxNotification[]> =>
    new Promise((resolve, reject) => {
      if (queue.length === 0) setImmediate(() => void flush());
      queue.push({ reader, resolve, reject });
    });

  const flush = async (): Promise<void> => {
    const batch = queue;
    queue = [];
    try {
      const rows = await readAfter(
        database,
        batch.map(({ reader }) => reader),
      );
      for (const [index, { resolve }] of batch.entries()) resolve(rows[index] ?? []);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  };

  const wakeAll = (): void => {
    for (const reader of readers) reader.woken.raise();
  };
  bus.onGap(wakeAll);
  const sweep = setInterval(wakeAll, SWEEP_MS).unref();

  return {
    created: async (owner, afterSeq) => {
      const woken = createSignal();
      // Looks once more when the bus is there: what came before that woke nobody.
      const unsubscribe = bus.subscribe(topics.inbox(owner.tenantId, owner.userId), woken.raise, woken.raise);
      let cursor: number;
      try {
        cursor = afterSeq ?? (await lastSeq(database, owner));
      } catch (error) {
        unsubscribe();
        throw error;
      }
      const reader: Reader = { owner, cursor, woken };
      readers.add(reader);
      woken.raise();

      return pullIterator<InboxNotification>({
        next: async () => {
          await woken.wait();
          try {
            const rows = await read(reader);
            if (rows.length === PAGE) woken.raise();
            reader.cursor = rows.at(-1)?.createdSeq ?? reader.cursor;
            return rows;
          } catch (error) {
            log.warn({ error, tenant_id: owner.tenantId }, 'feed not read, trying again');
            setTimeout(woken.raise, 500).unref();
            return [];
          }
        },
        stop: () => {
          readers.delete(reader);
          unsubscribe();
          woken.raise();
        },
      });
    },
    close: () => clearInterval(sweep),
  };
}

async function lastSeq(database: Database, { tenantId, userId }: Owner): Promise<number> {
  const rows = await database.asWorker((tx) =>
    tx.query<{ lastSeq: number }>('select last_seq as "lastSeq" from inbox where tenant_id = $1 and user_id = $2', [
      tenantId,
      userId,
    ]),
  );
  return rows[0]?.lastSeq ?? 0;
}

/** @returns the rows of each reader, in the order of `readers`. */
async function readAfter(database: Database, readers: Reader[]): Promise<InboxNotification[][]> {
  const rows = await database.asWorker((tx) =>
    tx.query<InboxNotification & { slot: number }>(
      `select feed.slot, n.*
       from unnest($1::int[], $2::text[], $3::text[], $4::bigint[]) as feed (slot, tenant_id, user_id, after)
       cross join lateral (
         select ${NOTIFICATION_COLUMNS} from notification n
         where n.tenant_id = feed.tenant_id and n.user_id = feed.user_id and n.created_seq > feed.after
         order by n.created_seq limit ${PAGE}
       ) n
       order by feed.slot, n."createdSeq"`,
      [
        readers.map((_reader, slot) => slot),
        readers.map((reader) => reader.owner.tenantId),
        readers.map((reader) => reader.owner.userId),
        readers.map((reader) => reader.cursor),
      ],
    ),
  );
  const bySlot = Map.groupBy(rows, (row) => row.slot);
  return readers.map((_reader, slot) => bySlot.get(slot) ?? []);
}
