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

/** An attempt that is about to be inserted, or was. */
export interface Opening {
  /**
   * Resolves when the attempt is inserted, to false if this process has lost the lease: then the row belongs to another
   * process, and its message must not be sent. Rejects when the database cannot be reached; the attempt may have been
   * inserted.
   */
  isHeld: Promise<boolean>;
  /** The provider begins to take the message. */
  start(): void;
}

export interface AttemptOpener {
  /**
   * Inserts an attempt when its provider begins to take the message, or when the message is next, so that a crash leaves a
   * trace of those and of no others. Attempts that have started are inserted at once. Others wait until there are twice as
   * many that have started and are not settled, except a single one: so a crash leaves at most twice as many open attempts
   * as there were messages that providers had begun to take.
   */
  open(attempt: NewAttempt): Opening;
  /** The outcome of a delivery is recorded, or the delivery was given up. */
  settle(log: ClaimedLog): void;
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

interface Entry {
  attempt: NewAttempt;
  hasStarted: boolean;
  /** True from the moment in which it is written. */
  isWritten: boolean;
  resolve: (isHeld: boolean) => void;
  reject: (error: unknown) => void;
}

/** Opens attempts in batches: the next batch collects while earlier ones are written. */
export function createAttemptOpener(database: Database): AttemptOpener {
  /** Attempts that are not settled, by log id. */
  const entries = new Map<string, Entry>();
  /** Attempts to write, in order. */
  const waiting = { started: new Set<Entry>(), next: new Set<Entry>() };
  /** Number of attempts that have started and are not settled. */
  let started = 0;
  /** Number of attempts that are written and have not started. */
  let next = 0;
  let writes = 0;
  let writtenAt = Number.NEGATIVE_INFINITY;

  const room = (): number => Math.max(1, Math.floor(started / 2)) - next;

  /** Returns the attempts that may be written now. */
  const takeBatch = (): Entry[] => {
    const batch = [...waiting.started];
    waiting.started.clear();
    for (const entry of waiting.next) {
      if (room() <= 0) break;
      waiting.next.delete(entry);
      next += 1;
      batch.push(entry);
    }
    for (const entry of batch) entry.isWritten = true;
    return batch;
  };

  const write = async (): Promise<void> => {
    writes += 1;
    for (;;) {
      // Collects all deliveries that start in this turn of the event loop. Right after a write, i.e. under load, it collects
      // for GATHER_MS.
      await new Promise((resolve) =>
        performance.now() - writtenAt < GATHER_MS ? setTimeout(resolve, GATHER_MS) : setImmediate(resolve),
      );
      const batch = takeBatch();
      if (batch.length === 0) break;
      try {
        const rows = batch.map(({ attempt }) => toRow(attempt));
        const opened = await database.asWorker((tx) =>
          tx.queryPlanned<{ id: string }>(OPEN_ATTEMPTS, [JSON.stringify(rows)]),
        );
        writtenAt = performance.now();
        const ids = new Set(opened.map(({ id }) => id));
        for (const { attempt, resolve } of batch) resolve(ids.has(attempt.log.id));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    writes -= 1;
  };
  const wake = (): void => {
    if (writes < MAX_WRITES && (waiting.started.size > 0 || (waiting.next.size > 0 && room() > 0))) void write();
  };

  return {
    open: (attempt) => {
      const { promise: isHeld, resolve, reject } = Promise.withResolvers<boolean>();
      const entry: Entry = { attempt, hasStarted: false, isWritten: false, resolve, reject };
      entries.set(attempt.log.id, entry);
      waiting.next.add(entry);
      // After the caller's next statement, which may start it.
      queueMicrotask(wake);
      return {
        isHeld,
        start: () => {
          if (entry.hasStarted || entries.get(attempt.log.id) !== entry) return;
          entry.hasStarted = true;
          started += 1;
          if (entry.isWritten) next -= 1;
          else if (waiting.next.delete(entry)) waiting.started.add(entry);
          wake();
        },
      };
    },
    settle: ({ id }) => {
      const entry = entries.get(id);
      if (!entry) return;
      entries.delete(id);
      if (entry.hasStarted) started -= 1;
      else if (entry.isWritten) next -= 1;
      if (waiting.next.delete(entry) || waiting.started.delete(entry)) entry.resolve(false);
      wake();
    },
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
