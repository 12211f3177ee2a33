import type { Database } from '../database/database.ts';
import { AppError } from '../errors.ts';
import { isUuid } from '../ids.ts';
import { type Bus, topics } from '../live/bus.ts';
import { checkFilter, inboxCursor, keysetQuery, type Page, type PageArgs, toPage } from '../paging/page.ts';
import type { Owner } from './owner.ts';
import { changeInbox, type InboxAction } from './change.ts';

/** One notification in a person's inbox. */
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
  /** True to include archived notifications. */
  isArchived?: boolean | null | undefined;
  types?: string[] | null | undefined;
  categories?: string[] | null | undefined;
}

export interface InboxPage extends Page<InboxNotification> {
  /** Position of the inbox when the page was read. Later changes have higher positions. */
  lastSeq: number;
}

export interface Inbox {
  list(owner: Owner, args: PageArgs, filter?: NotificationFilter | null): Promise<InboxPage>;
  /** Returns notifications in the order of `ids`; null for an id that does not exist in this inbox. */
  findMany(owner: Owner, ids: readonly string[]): Promise<(InboxNotification | null)[]>;
  unreadCount(owner: Owner): Promise<number>;
  /** @throws `not_found` */
  change(owner: Owner, id: string, action: InboxAction): Promise<InboxNotification>;
  /** Marks all notifications, or those before a time, as read. @returns the number that were unread. */
  readAll(owner: Owner, before?: Date | null): Promise<number>;
}

export const NOTIFICATION_COLUMNS = `n.id, n.tenant_id as "tenantId", n.user_id as "userId",
  n.created_seq as "createdSeq", n.seq, n.type, n.category, n.title, n.body, n.data::json as data, n.action_url as "actionUrl",
  n.recipient_scope as "recipientScope", n.actor_id as "actorId", n.created_at as "createdAt", n.read_at as "readAt",
  n.archived_at as "archivedAt"`;

export function createInbox({ database, bus }: { database: Database; bus: Bus }): Inbox {
  return {
    list: async (owner, args, filter) => {
      const query = keysetQuery(args, inboxCursor);
      checkFilter(filter);
      const values: unknown[] = [owner.tenantId, owner.userId, query.limit];
      // Adds only the conditions that are given, because the planner also spends time on conditions that are always true.
      const conditions = [`n.archived_at is ${filter?.isArchived ? 'not null' : 'null'}`];
      const add = (value: unknown, condition: (parameter: string) => string): void => {
        if (value === null || value === undefined) return;
        conditions.push(condition(`$${values.push(value)}`));
      };
      add(query.after, (seq) => `n.created_seq < ${seq}`);
      add(query.before, (seq) => `n.created_seq > ${seq}`);
      add(filter?.isRead, (isRead) => `(n.read_at is not null) = ${isRead}`);
      add(filter?.types, (types) => `n.type = any(${types})`);
      add(filter?.categories, (categories) => `n.category = any(${categories})`);
      // Reads the position in the same statement as the page, so that a feed that starts from it misses nothing.
      const found = await database.readAsTenant<InboxNotification & { lastSeq: number }>(
        owner.tenantId,
        `select box."lastSeq", n.*
         from (select coalesce((select last_seq from inbox where tenant_id = $1 and user_id = $2), 0) as "lastSeq") box
         left join lateral (
           select ${NOTIFICATION_COLUMNS} from notification n
           where n.tenant_id = $1 and n.user_id = $2 and ${conditions.join(' and ')}
           order by n.created_seq ${query.isBackward ? 'asc' : 'desc'} limit $3
         ) n on true`,
        values,
      );
      const rows = found.filter((row) => row.id !== null);
      return { ...toPage(rows, query), lastSeq: found[0]?.lastSeq ?? 0 };
    },

    findMany: async (owner, ids) => {
      const valid = ids.filter((id) => isUuid(id));
      if (valid.length === 0) return ids.map(() => null);
      const rows = await database.readAsTenant<InboxNotification>(owner.tenantId, FIND, [
        owner.tenantId,
        owner.userId,
        valid,
      ]);
      const byId = new Map(rows.map((row) => [row.id, row]));
      return ids.map((id) => byId.get(id.toLowerCase()) ?? null);
    },

    unreadCount: async (owner) => {
      const rows = await database.readAsTenant<{ unread: number }>(
        owner.tenantId,
        'select unread_count as unread from inbox where tenant_id = $1 and user_id = $2',
        [owner.tenantId, owner.userId],
      );
      return rows[0]?.unread ?? 0;
    },

    change: async (owner, id, action) => {
      if (!isUuid(id)) throw notFound();
      const { notification, changed } = await database.asTenant(owner.tenantId, async (tx) => {
        const count = await changeInbox(tx, owner, action, { id });
        const [row] = await tx.query<InboxNotification>(FIND, [owner.tenantId, owner.userId, [id]]);
        if (!row) throw notFound();
        return { notification: row, changed: count };
      });
      if (changed > 0) bus.publish(topics.inbox(owner.tenantId, owner.userId), null);
      return notification;
    },

    readAll: async (owner, before) => {
      const changed = await database.asTenant(owner.tenantId, (tx) => changeInbox(tx, owner, 'read', { before }));
      if (changed > 0) bus.publish(topics.inbox(owner.tenantId, owner.userId), null);
      return changed;
    },
  };
}

const FIND = `select ${NOTIFICATION_COLUMNS} from notification n
  where n.id = any($3::uuid[]) and n.tenant_id = $1 and n.user_id = $2`;

const notFound = (): AppError => new AppError('not_found', 'The inbox has no notification with this id.');
