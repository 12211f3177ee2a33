/**
 * Locks rows of `notification_log` whose leases this process holds, before a transaction changes anything else.
 *
 * The lock order of the whole service, which prevents deadlocks:
 *
 * 1. `notification_log`, by id, all rows of a transaction in one statement
 * 2. `inbox`, by tenant and user
 * 3. `delivery_attempt`, `notification_log_key`, `notification`, `audit_event`: only rows of a locked record or a locked
 *    inbox
 * 4. `suppression`, by its unique key
 *
 * A statement that may skip rows of others uses `for update skip locked` and waits for nobody.
 */
export const LOCK_LEASED = `select log.id from notification_log log
  join unnest($1::uuid[], $2::uuid[]) as held (id, lease_token)
    on held.id = log.id and held.lease_token = log.lease_token
  where log.status = 'sending' order by log.id for update of log`;
