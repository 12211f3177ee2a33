import type { Transaction } from '../database/database.ts';

/** Maximum number of rows that one transaction deletes. */
const BATCH = 5_000;

/** Skips rows that the fold is changing, and waits for nobody. */
const DELETE_EXPIRED = `delete from delivery_statistic where ctid = any(array(
    select ctid from delivery_statistic where starts_at < $1::timestamptz - interval '25 months'
    limit ${BATCH} for update skip locked))
  returning 1`;

/**
 * Deletes one batch of statistics that are older than 25 months. They contain no personal data, so that they outlive the
 * delivery records.
 *
 * @param now milliseconds since 1970.
 */
export async function expireStatistics(tx: Transaction, now: number): Promise<{ count: number; isMore: boolean }> {
  const deleted = await tx.query(DELETE_EXPIRED, [new Date(now)]);
  return { count: deleted.length, isMore: deleted.length === BATCH };
}
