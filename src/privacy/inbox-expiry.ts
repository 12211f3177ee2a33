import type { Database } from '../database/database.ts';

/** Number of inboxes that one transaction looks at. */
const INBOXES = 1_000;
/** Maximum number of notifications of an inbox that one transaction deletes. */
const OLDEST = 100;

/**
 * Deletes the oldest notifications of the inboxes after $2. It looks at the oldest notification of each inbox first, because
 * no index has the time of all: to search for old ones would read every notification of the tenant. Positions are in the
 * order of time.
 */
const DELETE_EXPIRED = `with box as materialized (
    select user_id from inbox where tenant_id = $1 and user_id > $2 order by user_id limit ${INBOXES}
  ), old as materialized (
    select box.user_id, expired.id, expired.nth
    from box cross join lateral (
      select n.created_at from notification n where n.tenant_id = $1 and n.user_id = box.user_id
      order by n.created_seq limit 1
    ) first cross join lateral (
      select n.id, n.created_at, row_number() over (order by n.created_seq) as nth from notification n
      where n.tenant_id = $1 and n.user_id = box.user_id and first.created_at < $3
      order by n.created_seq limit ${OLDEST}
    ) expired
    where expired.created_at < $3
  ), locked as materialized (
    select user_id from inbox where tenant_id = $1 and user_id = any(array(select user_id from old)) order by user_id for update
  ), gone as (
    -- Reading locked first locks the inboxes before their notifications.
    delete from notification where (select count(*) from locked) >= 0 and id = any(array(select id from old))
    returning user_id, read_at is null and archived_at is null as is_unread
  ), counted as (
    update inbox set unread_count = unread_count - gone.unread
    from (select user_id, count(*) filter (where is_unread)::int as unread from gone group by user_id) gone
    where inbox.tenant_id = $1 and inbox.user_id = gone.user_id
  )
  select (select count(*)::int from gone) as count, exists (select from old where nth = ${OLDEST}) as "isMore",
    (select max(user_id) from (select user_id from box offset ${INBOXES - 1}) full_page) as last`;

/**
 * Deletes the notifications of a tenant that are older than a moment, and corrects the unread counts. Each batch is a
 * transaction. The cost depends on the number of inboxes and of expired notifications.
 *
 * @param before exclusive.
 * @returns the number of deleted notifications.
 */
export async function expireNotifications(
  database: Database,
  tenantId: string,
  before: Date,
  isStopped: () => boolean,
): Promise<number> {
  let total = 0;
  for (let after: string | null = ''; after !== null && !isStopped();) {
    const values: unknown[] = [tenantId, after, before];
    const [found] = await database.asWorker((tx) =>
      tx.query<{ count: number; isMore: boolean; last: string | null }>(DELETE_EXPIRED, values),
    );
    total += found?.count ?? 0;
    // With nothing deleted, others have deleted it at the same time.
    if (!found?.isMore || found.count === 0) after = found?.last ?? null;
  }
  return total;
}
