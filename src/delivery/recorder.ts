import { isRefusedData } from '../database/errors.ts';
import type { Log } from '../log.ts';
import type { DeliveryOutcome } from '../observability/metrics.ts';
import { isTerminal } from './status.ts';
import { type Settled, settleBatch, type Settlement, type SettleOptions } from './settle.ts';

export interface Recorder {
  /**
   * Records the outcome of a delivery. Resolves after the commit, and retries while the database is unavailable. Never
   * rejects.
   */
  record(settlement: Settlement): Promise<void>;
  /**
   * True while outcomes cannot be written. Leases may expire in the meantime, and this process must not claim its own
   * rows as those of a dead process.
   */
  readonly isBehind: boolean;
}

export interface RecorderOptions extends SettleOptions {
  log: Log;
  /** Called after each commit. */
  onRecorded: (settled: Settled) => void;
  /** Called for each delivery that reached a terminal status, except test notifications. */
  onEnded?: (outcome: DeliveryOutcome) => void;
}

export const INTERNAL_FAILURE = {
  errorCode: 'internal',
  errorMessage: 'The delivery failed because of an internal error. The log of the service contains the cause.',
} as const;

/** Maximum number of concurrent flushes: one collects its batch while the database writes the other. */
const MAX_FLUSHES = 2;
/** Minimum time to collect a batch under load, in milliseconds. */
const GATHER_MS = 15;

/** Creates a recorder that writes outcomes in batches: the next batch collects while the previous one is written. */
export function createRecorder({ log, onRecorded, onEnded, ...settling }: RecorderOptions): Recorder {
  const waiting: { settlement: Settlement; resolve: () => void }[] = [];
  let flushes = 0;
  let isBehind = false;
  let writtenAt = Number.NEGATIVE_INFINITY;

  const write = async (batch: Settlement[]): Promise<void> => {
    onRecorded(await settleBatch(settling, batch));
    for (const settlement of batch) {
      logSettlement(log, settlement);
      if (isTerminal(settlement.status) && !settlement.log.isTest) onEnded?.(outcomeOf(settlement));
    }
  };

  /**
   * Writes a batch. When the database rejects it, writes its two halves, until only the invalid outcome is rejected.
   */
  const writeWithBisection = async (batch: Settlement[]): Promise<void> => {
    try {
      await write(batch);
    } catch (error) {
      const [only] = batch;
      // A single outcome that timed out is retried later: a sent message must not be recorded as failed.
      if (!only || !(isRefusedData(error) || (isTooSlow(error) && batch.length > 1))) throw error;
      if (batch.length > 1) {
        const middle = Math.ceil(batch.length / 2);
        await writeWithBisection(batch.slice(0, middle));
        await writeWithBisection(batch.slice(middle));
        return;
      }
      log.error(
        { tenant_id: only.log.tenantId, event_id: only.log.eventId },
        'the database refused an outcome, the delivery is recorded as failed',
      );
      // If the failure is rejected too, the lease expires and the row is claimed again, up to the limit of claims.
      if (only.errorCode !== INTERNAL_FAILURE.errorCode) await writeWithBisection([internalFailure(only)]);
    }
  };

  const flush = async (): Promise<void> => {
    flushes += 1;
    for (let delayMs = 100; waiting.length > 0;) {
      // Collects all deliveries that finish in this turn of the event loop. Right after a write, i.e. under load, it
      // collects for GATHER_MS.
      await new Promise((resolve) =>
        performance.now() - writtenAt < GATHER_MS ? setTimeout(resolve, GATHER_MS) : setImmediate(resolve),
      );
      const batch = waiting.splice(0, batchLength(waiting.map(({ settlement }) => settlement)));
      try {
        await writeWithBisection(batch.map(({ settlement }) => settlement));
        for (const { resolve } of batch) resolve();
        isBehind = false;
        delayMs = 100;
        writtenAt = performance.now();
      } catch (error) {
        // The messages were sent, so their outcomes are retried until the database is available. Outcomes that are already
        // written have no lease any longer, so a second write does not change them.
        isBehind = true;
        log.error({ error, deliveries: batch.length }, 'recording deliveries failed, trying again');
        waiting.unshift(...batch);
        await new Promise((resolve) => setTimeout(resolve, delayMs));
        delayMs = Math.min(delayMs * 2, 2_000);
      }
    }
    flushes -= 1;
  };

  return {
    record: (settlement) =>
      new Promise((resolve) => {
        waiting.push({ settlement, resolve });
        if (flushes < MAX_FLUSHES) void flush();
      }),
    get isBehind() {
      return isBehind;
    },
  };
}

/** Maximum number of inbox rows per transaction, as estimated before the audiences are resolved. */
const MAX_ROWS = 20_000;

/** Returns the number of waiting settlements for the next transaction, at least one. */
function batchLength(settlements: Settlement[]): number {
  let rows = 0;
  const tooMany = settlements.findIndex(({ inbox }) => {
    rows += inbox?.audience.scope === 'users' ? inbox.audience.userIds.length : inbox ? 1_000 : 1;
    return rows > MAX_ROWS;
  });
  return tooMany === -1 ? settlements.length : Math.max(tooMany, 1);
}

/** True if the statement hit its timeout. Half of the batch takes about half as long. */
const isTooSlow = (error: unknown): boolean => (error as { code?: unknown }).code === '57014';

/** Returns the settlement that replaces one that the database rejects. Keeps the outcome of the attempt. */
const internalFailure = ({ log, channel, attempt }: Settlement): Settlement => ({
  log,
  status: 'failed',
  channel,
  ...INTERNAL_FAILURE,
  ...(attempt && { attempt: withoutProviderText(attempt) }),
});

/** Removes text from the provider, which may be the reason for the rejection. */
const withoutProviderText = ({ number, provider, outcome, durationMs }: NonNullable<Settlement['attempt']>) => ({
  number,
  provider,
  outcome,
  durationMs,
});

const outcomeOf = ({ log: row, channel, template, status }: Settlement): DeliveryOutcome => ({
  tenantId: row.tenantId,
  channel,
  templateId: template?.templateId,
  status,
  durationMs: Date.now() - row.scheduledAt.getTime(),
});

function logSettlement(log: Log, settlement: Settlement): void {
  const { log: row, status, channel, template, attempt, errorCode, errorMessage } = settlement;
  const fields = {
    tenant_id: row.tenantId,
    trace_id: row.traceId,
    event_id: row.eventId,
    template_id: template?.templateId,
    channel,
    status,
    attempts: attempt?.number ?? row.attempts,
  };
  if (!isTerminal(status) && !attempt) log.debug(fields, 'notification delayed');
  else if (errorCode === undefined) log.info(fields, 'notification delivered');
  else log.warn({ ...fields, error_code: errorCode, error_message: errorMessage }, 'notification not delivered');
}
