import type { Database, Transaction } from '../database/database.ts';
import { AppError } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import { isUuid } from '../ids.ts';
import { type Bus, topics } from '../live/bus.ts';
import { inboxCursor, keysetQuery, type Page, type PageArgs, toPage } from '../paging/page.ts';

/** One notification in somebody's inbox. */
export interface InboxNotification {
  id: string;
  tenantId: string;
  userId: string;
  createdSeq: number;
  seq: number;
  type: string;
  category: string | null;
  title: string | null;
  body: string;
  data: Record<string, unknown> | null;
  actionUrl: string | null;
  recipientScope: string;
  actorId: string | null;
  createdAt: Date;
  readAt: Date | null;
  archivedAt: Date | null;
}

export interface NotificationFilter {
  isRead?: boolean | null | undefined;
  /** Archived notifications are left out unless asked for. */
  isArchived?: boolean | null | undefined;
  types?: string[] | null | undefined;
  categories?: string[] | null | undefined;
}

/** Whose inbox: everything here is about one person of one tenant. */
export type Owner = Pick<Actor, 'tenantId' | 'userId'>;

export interface Inbox {
  list(owner: Owner, args: PageArgs, filter?: NotificationFilter | null): Promise<Page<InboxNotification>>;
  /** In the order of `ids`; null for what does not exist in this inbox. */
  findMany(owner: Owner, ids: readonly string[]): Promise<(InboxNotification | null)[]>;
  unreadCount(owner: Owner): Promise<number>;
  /** @throws `not_found` */
  markRead(owner: Owner, id: string): Promise<InboxNotification>;
}

export const NOTIFICATION_COLUMNS = `n.id, n.tenant_id as "tenantId", n.user_id as "userId",
  n.created_seq as "createdSeq", n.seq, n.type, n.category, n.title, n.body, n.data, n.action_url as "actionUrl",
  n.recipient_scope as "recipientScope", n.actor_id as "actorId", n.created_at as "createdAt", n.read_at as "readAt",
  n.archived_at as "archivedAt"`;

export function createInbox({ database, bus }: { database: Database; bus: Bus }): Inbox {
  return {
    list: (owner, args, filter) => {
      const query = keysetQuery(args, inboxCursor);
      return database.asTenant(owner.tenantId, async (tx) => {
        const rows = await tx.query<InboxNotification>(
          `select ${NOTIFICATION_COLUMNS} from notification n
           where n.tenant_id = $1 and n.user_id = $2
             and ($3::bigint is null or n.created_seq < $3) and ($4::bigint is null or n.created_seq > $4)
             and ($5::boolean is null or (n.read_at is not null) = $5)
             and (n.archived_at is not null) = coalesce($6, false)
             and ($7::text[] is null or n.type = any($7)) and ($8::text[] is null or n.category = any($8))
           order by n.created_seq ${query.isBackward ? 'asc' : 'desc'} limit $9`,
          [
            owner.tenantId,
            owner.userId,
            query.after ?? null,
            query.before ?? null,
            filter?.isRead ?? null,
            filter?.isArchived ?? null,
            filter?.types ?? null,
            filter?.categories ?? null,
            query.limit,
          ],
        );
        return toPage(rows, query);
      });
    },

    findMany: async (owner, ids) => {
      const valid = ids.filter((id) => isUuid(id));
      if (valid.length === 0) return ids.map(() => null);
      const rows = await database.asTenant(owner.tenantId, (tx) => findNotifications(tx, owner, valid));
      const byId = new Map(rows.map((row) => [row.id, row]));
      return ids.map((id) => byId.get(id.toLowerCase()) ?? null);
    },

    unreadCount: async (owner) => {
      const rows = await database.asTenant(owner.tenantId, (tx) =>
        tx.query<{ unread: number }>('select unread_count as unread from inbox where tenant_id = $1 and user_id = $2', [
          owner.tenantId,
          owner.userId,
        ]),
      );
      return rows[0]?.unread ?? 0;
    },

    markRead: async (owner, id) => {
      const { notification, isChanged } = await database.asTenant(owner.tenantId, (tx) => markRead(tx, owner, id));
      if (isChanged) bus.publish(topics.inbox(owner.tenantId, owner.userId), null);
      return notification;
    },
  };
}

async function markRead(
  tx: Transaction,
  owner: Owner,
  id: string,
): Promise<{ notification: InboxNotification; isChanged: boolean }> {
  if (!isUuid(id)) throw notFound();
  // The inbox row is locked first, as by everybody who changes the inbox: its order is the order of changes.
  await tx.query('select from inbox where tenant_id = $1 and user_id = $2 for update', [owner.tenantId, owner.userId]);
  const changed = await tx.query(
    `with changed as (
       update notification n set read_at = now(), seq = box.last_seq + 1
       from inbox box
       where n.id = $3 and n.tenant_id = $1 and n.user_id = $2 and n.read_at is null
         and box.tenant_id = n.tenant_id and box.user_id = n.user_id
       returning n.tenant_id, n.user_id
     )
     update inbox box set last_seq = box.last_seq + 1, unread_count = box.unread_count - 1
     from changed where box.tenant_id = changed.tenant_id and box.user_id = changed.user_id
     returning box.last_seq`,
    [owner.tenantId, owner.userId, id],
  );
  const [notification] = await findNotifications(tx, owner, [id]);
  if (!notification) throw notFound();
  return { notification, isChanged: changed.length > 0 };
}

const findNotifications = (tx: Transaction, owner: Owner, ids: readonly string[]): Promise<InboxNotification[]> =>
  tx.query<InboxNotification>(
    `select ${NOTIFICATION_COLUMNS} from notification n
     where n.id = any($3::uuid[]) and n.tenant_id = $1 and n.user_id = $2`,
    [owner.tenantId, owner.userId, ids],
  );

const notFound = (): AppError => new AppError('not_found', 'There is no such notification in this inbox.');
