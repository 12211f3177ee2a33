import type { Database } from '../database/database.ts';
import type { Log } from '../log.ts';

export interface Heartbeat {
  /** Removes the instance. Its remaining rows are due again at the end of their leases. */
  close(): Promise<void>;
}

/** Time between two heartbeats, in milliseconds. */
const BEAT_MS = 1_000;
/**
 * Time without a heartbeat after which an instance counts as dead. Longer than a short loss of the database connection or
 * a busy event loop, and short enough for its rows to be taken over within 10 seconds.
 */
const DEAD_AFTER = `interval '6 seconds'`;

/**
 * Records a heartbeat, and makes the rows of dead instances due at once. All times are those of the database, so that the
 * clocks of the instances do not matter. After a restart of PostgreSQL every heartbeat is old, so for 10 seconds no
 * instance counts as dead.
 */
const BEAT = `with beat as (
    insert into dispatcher_instance (id) values ($1) on conflict (id) do update set seen_at = now()
  ), dead as (
    delete from dispatcher_instance
    where id in (
      select id from dispatcher_instance
      where seen_at < now() - ${DEAD_AFTER} and id <> $1
        and pg_postmaster_start_time() < now() - interval '10 seconds'
      for update skip locked)
    returning id
  ), orphaned as (
    select log.id from notification_log log join dead on dead.id = log.lease_owner
    where log.status = 'sending' order by log.id for update of log skip locked
  ), released as (
    update notification_log log set due_at = now() from orphaned where log.id = orphaned.id returning 1
  )
  select (select count(*)::int from dead) as instances, (select count(*)::int from released) as rows`;

const REMOVE = 'delete from dispatcher_instance where id = $1';

export interface HeartbeatOptions {
  database: Database;
  log: Log;
  instanceId: string;
  /** Called after rows of a dead instance became due. */
  onReleased: () => void;
}

/** Records heartbeats of this instance until it is closed. Resolves after the first one. */
export async function startHeartbeat({ database, log, instanceId, onReleased }: HeartbeatOptions): Promise<Heartbeat> {
  let beating: Promise<void> | undefined;
  const beat = async (): Promise<void> => {
    try {
      const [found] = await database.asWorker((tx) =>
        tx.queryPlanned<{ instances: number; rows: number }>(BEAT, [instanceId]),
      );
      if (!found || found.instances === 0) return;
      log.warn({ instances: found.instances, deliveries: found.rows }, 'taking over deliveries of a dead instance');
      if (found.rows > 0) onReleased();
    } catch (error) {
      log.error({ error }, 'heartbeat of the dispatcher not recorded');
    }
  };
  const run = (): Promise<void> => (beating ??= beat().finally(() => (beating = undefined)));
  await run();
  const timer = setInterval(() => void run(), BEAT_MS);
  return {
    close: async () => {
      clearInterval(timer);
      await beating;
      await database.asWorker((tx) => tx.query(REMOVE, [instanceId])).catch(() => {});
    },
  };
}
