import type { Transaction } from '../database/database.ts';
import type { Owner } from './owner.ts';

/** Changes that a person can make to notifications of their inbox. */
export type InboxAction = 'read' | 'unread' | 'archive';

/** SQL of each change, and the condition for notifications that do not have the wanted state yet. */
const ACTIONS: Record<InboxAction, { set: string; where: string }> = {
  read: { set: 'read_at = now()', where: 'read_at is null' },
  unread: { set: 'read_at = null', where: 'read_at is not null' },
  archive: { set: 'archived_at = now()', where: 'archived_at is null' },
};

/** Selects one notification by id, or all that arrived before a time. */
export interface InboxSelection {
  id?: string;
  before?: Date | null | undefined;
}

/** Condition for notifications in the unread count; the same as the index `notification_unread`. */
const COUNTS = 'read_at is null and archived_at is null';

/** Serialises changes of one inbox: the order of locks is the order of `seq`. */
const LOCK_INBOX = 'select from inbox where tenant_id = $1 and user_id = $2 for update';

/** One statement changes the notifications, their positions and the unread count, however many there are. */
const changeNotifications = (action: InboxAction): string => {
  const { set, where } = ACTIONS[action];
  return `with target as (
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
  select count from total`;
};

/**
 * Changes notifications of one inbox. Each changed notification gets the next position of the inbox, in order of
 * arrival. Notifications that already have the wanted state do not change.
 *
 * @returns the number of changed notifications.
 */
export async function changeInbox(
  tx: Pick<Transaction, 'query'>,
  { tenantId, userId }: Owner,
  action: InboxAction,
  { id, before }: InboxSelection,
): Promise<number> {
  // Every change locks the inbox row first, so that the order of locks is the order of positions.
  await tx.query(LOCK_INBOX, [tenantId, userId]);
  const [changed] = await tx.query<{ count: number }>(changeNotifications(action), [
    tenantId,
    userId,
    id ?? null,
    before ?? null,
  ]);
  return changed?.count ?? 0;
}
