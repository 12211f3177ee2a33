import type { Database } from '../database/database.ts';
import type { Channel } from '../intake/channel.ts';
import type { ClaimedLog } from './claim.ts';

export interface NewAttempt {
  log: ClaimedLog;
  channel: Channel;
  provider: string;
  /** Channels of the delivery, in order; `step` is the index of this attempt's channel. */
  route: Channel[];
  step: number;
  /** True if the provider removes repeats by the idempotency key. */
  deduplicates: boolean;
}

export interface AttemptOpener {
  /**
   * Inserts an attempt right before its provider is called, so that a crash during the call leaves a trace, and one that
   * comes earlier does not. A row whose lease was lost belongs to another process: it gets no attempt and must not be
   * sent.
   *
   * @returns whether this process still holds the lease.
   * @throws when the database cannot be reached. The attempt may have been inserted.
   */
  open(attempt: NewAttempt): Promise<boolean>;
}

/** One statement opens the attempts of a batch, in the lock order of `lock-order.ts`. */
const OPEN_ATTEMPTS = `with attempt as (
    select * from jsonb_to_recordset($1::jsonb) as attempt (log_id uuid, lease_token uuid, number int,
      tenant_id text, channel text, provider text, route text[], step smallint, step_attempts smallint,
      deduplicates boolean)
  ), locked as (
    select log.id from notification_log log
    join attempt on attempt.log_id = log.id and attempt.lease_token = log.lease_token
    where log.status = 'sending' order by log.id for update of log
  ), held as (
    update notification_log log
    set attempts = attempt.number, channel = attempt.channel, provider = attempt.provider, route = attempt.route,
        step = attempt.step, step_attempts = attempt.step_attempts
    from attempt join locked on locked.id = attempt.log_id
    where log.id = locked.id
    returning log.id
  ), opened as (
    insert into delivery_attempt (log_id, number, tenant_id, channel, provider, deduplicates)
    select log_id, number, tenant_id, channel, provider, deduplicates
    from attempt join held on held.id = attempt.log_id
  )
  select id from held`;

/** Maximum number of concurrent writes: one collects its batch while the database writes the other. */
const MAX_WRITES = 2;
/** Time to collect a batch under load, in milliseconds. Shorter than most relays take for one mail. */
const GATHER_MS = 8;

/** Opens attempts in batches: the next batch collects while earlier ones are written. */
export function createAttemptOpener(database: Database): AttemptOpener {
  let waiting: { attempt: NewAttempt; resolve: (isHeld: boolean) => void; reject: (error: unknown) => void }[] = [];
  let writes = 0;
  let writtenAt = Number.NEGATIVE_INFINITY;

  const write = async (): Promise<void> => {
    writes += 1;
    while (waiting.length > 0) {
      // Collects all deliveries that start in this turn of the event loop. Right after a write, i.e. under load, it collects
      // for GATHER_MS.
      await new Promise((resolve) =>
        performance.now() - writtenAt < GATHER_MS ? setTimeout(resolve, GATHER_MS) : setImmediate(resolve),
      );
      const batch = waiting;
      waiting = [];
      if (batch.length === 0) break;
      try {
        const rows = batch.map(({ attempt }) => toRow(attempt));
        const opened = await database.asWorker((tx) => tx.query<{ id: string }>(OPEN_ATTEMPTS, [JSON.stringify(rows)]));
        writtenAt = performance.now();
        const ids = new Set(opened.map(({ id }) => id));
        for (const { attempt, resolve } of batch) resolve(ids.has(attempt.log.id));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    writes -= 1;
  };

  return {
    open: (attempt) =>
      new Promise((resolve, reject) => {
        waiting.push({ attempt, resolve, reject });
        if (writes < MAX_WRITES) void write();
      }),
  };
}

const toRow = ({ log, channel, provider, route, step, deduplicates }: NewAttempt) => ({
  log_id: log.id,
  lease_token: log.leaseToken,
  number: log.attempts + 1,
  tenant_id: log.tenantId,
  channel,
  provider,
  route,
  step,
  step_attempts: step === log.step ? log.stepAttempts + 1 : 1,
  deduplicates,
});
