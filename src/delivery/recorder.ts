import { isRefusedData } from '../database/errors.ts';
import type { Log } from '../log.ts';
import type { DeliveryOutcome } from '../observability/metrics.ts';
import { isTerminal } from './status.ts';
import { type Settled, settleBatch, type Settlement, type SettleOptions } from './settle.ts';

export interface Recorder {
  /** Records how a delivery went; resolves once that is committed, however long the database is away. Never rejects. */
  record(settlement: Settlement): Promise<void>;
  /**
   * True while outcomes cannot be written down. The leases of what is in hand may run out meanwhile, and this process
   * must not take its own rows for a dead one's.
   */
  readonly isBehind: boolean;
}

export interface RecorderOptions extends SettleOptions {
  log: Log;
  /** Called after each commit. */
  onRecorded: (settled: Settled) => void;
  /** Called for each delivery that came to its end. Tests are left out. */
  onEnded?: (outcome: DeliveryOutcome) => void;
}

export const INTERNAL_FAILURE = {
  errorCode: 'internal',
  errorMessage: 'The delivery failed inside the service.',
} as const;

/** Batches that are written at once: one gathers in the service while the database is busy with the other. */
const MAX_FLUSHES = 2;
/** Under load, how long a batch gathers at the least. Milliseconds. */
const GATHER_MS = 15;

/** Writes outcomes down in batches: while some are written, the next one gathers. */
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

  /** Halves a batch that the database refuses until the outcome that it refuses stands alone. */
  const writeAround = async (batch: Settlement[]): Promise<void> => {
    try {
      await write(batch);
    } catch (error) {
      const [only] = batch;
      // One outcome alone that was too slow is written later: what was sent must never be recorded as failed for that.
      if (!only || !(isRefusedData(error) || (isTooSlow(error) && batch.length > 1))) throw error;
      if (batch.length > 1) {
        const middle = Math.ceil(batch.length / 2);
        await writeAround(batch.slice(0, middle));
        await writeAround(batch.slice(middle));
        return;
      }
      log.error({ tenant_id: only.log.tenantId, event_id: only.log.eventId }, 'outcome refused as data');
      // Where not even the failure is taken, the lease runs out and the row is tried again, a bounded number of times.
      if (only.errorCode !== INTERNAL_FAILURE.errorCode) await writeAround([internalFailure(only)]);
    }
  };

  const flush = async (): Promise<void> => {
    flushes += 1;
    for (let delayMs = 100; waiting.length > 0;) {
      // Lets everything that ends in this turn of the event loop into the same batch; and under load, when one batch has
      // just been written, what ends in the next moments.
      await new Promise((resolve) =>
        performance.now() - writtenAt < GATHER_MS ? setTimeout(resolve, GATHER_MS) : setImmediate(resolve),
      );
      const batch = waiting.splice(0, batchLength(waiting.map(({ settlement }) => settlement)));
      try {
        await writeAround(batch.map(({ settlement }) => settlement));
        for (const { resolve } of batch) resolve();
        isBehind = false;
        delayMs = 100;
        writtenAt = performance.now();
      } catch (error) {
        // The messages are out and only the record is missing: it is written as soon as the database is back. What of
        // the batch was written already is no longer ours, and writing it again changes nothing.
        isBehind = true;
        log.error({ error, deliveries: batch.length }, 'deliveries not recorded, trying again');
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

/** Inbox rows that one transaction writes at the most, by what is known of the audiences before they are resolved. */
const MAX_ROWS = 20_000;

/** How many of the waiting settlements go into the next transaction: one at least. */
function batchLength(settlements: Settlement[]): number {
  let rows = 0;
  const tooMany = settlements.findIndex(({ inbox }) => {
    rows += inbox?.audience.scope === 'users' ? inbox.audience.userIds.length : inbox ? 1_000 : 1;
    return rows > MAX_ROWS;
  });
  return tooMany === -1 ? settlements.length : Math.max(tooMany, 1);
}

/** The statement was cancelled at its time limit: half of it takes half as long. */
const isTooSlow = (error: unknown): boolean => (error as { code?: unknown }).code === '57014';

/** What is left of an outcome that the database refuses: how the attempt itself went is kept. */
const internalFailure = ({ log, channel, attempt }: Settlement): Settlement => ({
  log,
  status: 'failed',
  channel,
  ...INTERNAL_FAILURE,
  ...(attempt && { attempt: withoutWords(attempt) }),
});

/** Without what the provider said, which may be what the database refuses. */
const withoutWords = ({ number, provider, outcome, durationMs }: NonNullable<Settlement['attempt']>) => ({
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
  if (!isTerminal(status) && !attempt) log.debug(fields, 'notification waits');
  else if (errorCode === undefined) log.info(fields, 'notification delivered');
  else log.warn({ ...fields, error_code: errorCode, error_message: errorMessage }, 'notification not delivered');
}
