import { setTimeout as delay } from 'node:timers/promises';

import type { Database } from '../database/database.ts';
import type { Log } from '../log.ts';
import { STATISTIC_COLUMNS, sumByLevel } from './statistics-deltas.ts';

/** Advisory lock of the transactions that write `delivery_statistic`. The number has no meaning. */
export const STATISTICS_LOCK = 7_253_002;
/** Maximum number of deltas per transaction. */
const BATCH = 5_000;
const POLL_MS = 2_000;

const TRY_LOCK = `select pg_try_advisory_xact_lock(${STATISTICS_LOCK}) as "isLocked"`;

/** Moves a batch in one statement, so that a reader counts each delta exactly once. */
const FOLD = `with folded as (
    delete from delivery_statistic_delta where (tenant_id, hour, id) in (
      select tenant_id, hour, id from delivery_statistic_delta order by tenant_id, hour, id limit ${BATCH})
    returning *
  ), written as (
    insert into delivery_statistic (${STATISTIC_COLUMNS})
    ${sumByLevel('folded')}
    on conflict (tenant_id, level, starts_at, event_code, channel, status, template_id, bucket)
      do update set count = delivery_statistic.count + excluded.count
  )
  select count(*)::int as count from folded`;

/**
 * Adds one batch of deltas to the statistics. Does nothing while another instance does so.
 *
 * @returns whether there may be more deltas.
 */
export function foldStatistics(database: Database): Promise<boolean> {
  return database.asWorker(async (tx) => {
    const [lock] = await tx.query<{ isLocked: boolean }>(TRY_LOCK);
    if (!lock?.isLocked) return false;
    const [folded] = await tx.query<{ count: number }>(FOLD);
    return folded?.count === BATCH;
  });
}

/** Folds the deltas every two seconds, so that queries read only a few of them. */
export function startStatisticsFold({ database, log }: { database: Database; log: Log }): { close(): Promise<void> } {
  const stop = new AbortController();
  const { signal } = stop;
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        while (!signal.aborted && (await foldStatistics(database)));
      } catch (error) {
        log.warn({ error }, 'folding the delivery statistics failed, trying again');
      }
      await delay(POLL_MS, undefined, { signal, ref: false }).catch(() => {});
    }
  };
  const ended = run();
  return {
    close: () => {
      stop.abort();
      return ended;
    },
  };
}
