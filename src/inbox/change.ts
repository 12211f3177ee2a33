import type { Transaction } from '../database/database.ts';
import type { Owner } from './owner.ts';

/** What somebody can do to notifications of their inbox. */
export type InboxAction = 'read' | 'unread' | 'archive';

/** How each is written down, and which notifications it has something to do at. */
const ACTIONS: Record<InboxAction, { set: string; where: string }> = {
  read: { set: 'read_at = now()', where: 'read_at is null' },
  unread: { set: 'read_at = null', where: 'read_at is not null' },
  archive: { set: 'archived_at = now()', where: 'archived_at is null' },
};

/** Which notifications: one, or all that came in before a time. */
export interface InboxSelection {
  id?: string;
  before?: Date | null | undefined;
}

/** What the badge counts: see `notification_unread`. */
const COUNTS = 'read_at is null and archived_at is null';

/**
 * Changes notifications of one inbox. Each gets the next position of the inbox, in the order in which they came in,
 * and the unread count follows in the same statement. What is as wanted already is left alone.
 *
 * @returns how many were changed.
 */
export async function changeInbox(
  tx: Pick<Transaction, 'query'>,
  { tenantId, userId }: Owner,
  action: InboxAction,
  { id, before }: InboxSelection,
): Promise<number> {
  const { set, where } = ACTIONS[action];
  // The inbox row is locked first, as by everybody who changes the inbox: its order is the order of changes.
  await tx.query('select from inbox where tenant_id = $1 and user_id = $2 for update', [tenantId, userId]);
  const [changed] = await tx.query<{ count: number }>(
    `with target as (
       select id, (${COUNTS}) as counted, row_number() over (order by created_seq) as nth
       from notification
       where tenant_id = $1 and user_id = $2 and ${where} and ($3::uuid is null or id = $3)
         and ($3::uuid is not null or archived_at is null)
         and ($4::timestamptz is null or date_trunc('milliseconds', created_at) < $4)
     ), changed as (
       update notification n set ${set}, seq = box.last_seq + target.nth
       from target, inbox box
       where n.id = target.id and box.tenant_id = $1 and box.user_id = $2
       returning target.counted, (n.read_at is null and n.archived_at is null) as counts
     ), total as (
       select count(*)::int as count, coalesce(sum(counts::int - counted::int), 0)::int as difference from changed
     ), head as (
       update inbox set last_seq = last_seq + total.count, unread_count = unread_count + total.difference
       from total where tenant_id = $1 and user_id = $2 and total.count > 0
     )
     select count from total`,
    [tenantId, userId, id ?? null, before ?? null],
  );
  return changed?.count ?? 0;
}
