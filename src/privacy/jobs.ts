import { setTimeout as delay } from 'node:timers/promises';

import { createPartitions } from '../database/partitions.ts';
import type { Log } from '../log.ts';
import { eraseNext } from './erase.ts';
import type { RetentionOptions } from './partitions.ts';
import { applyRetention } from './retention.ts';

export interface PrivacyJobs {
  /** Starts an erasure job at once. */
  wake(): void;
  close(): Promise<void>;
}

const ERASE_POLL_MS = 5_000;
const RETENTION_MS = 3_600_000;

/** Runs requested erasures, and once an hour creates partitions and applies the retention of all tenants. */
export function startPrivacyJobs({
  log,
  ...options
}: Omit<RetentionOptions, 'isStopped' | 'now'> & { log: Log }): PrivacyJobs {
  let isClosing = false;
  const isStopped = (): boolean => isClosing;

  const every = (pauseMs: number, what: string, work: () => Promise<unknown>) => {
    let pause = new AbortController();
    const run = async (): Promise<void> => {
      while (!isClosing) {
        await work().catch((error: unknown) => log.warn({ error }, `${what} failed, trying again`));
        await delay(isClosing ? 0 : pauseMs, undefined, { signal: pause.signal, ref: false }).catch(() => {});
        pause = new AbortController();
      }
    };
    const ended = run();
    return { ended, wake: () => pause.abort() };
  };

  const erasing = every(ERASE_POLL_MS, 'erasure', async () => {
    while (!isClosing && (await eraseNext(options.database)));
  });
  const keeping = every(RETENTION_MS, 'retention', async () => {
    const { removed, anonymised } = await applyRetention({ ...options, isStopped });
    if (removed + anonymised > 0) log.info({ removed, anonymised }, 'retention applied');
  });
  const partitioning = every(RETENTION_MS, 'creating partitions', async () => {
    const created = await createPartitions(options.database);
    if (created > 0) log.info({ created }, 'partitions created');
  });
  return {
    wake: erasing.wake,
    close: async () => {
      isClosing = true;
      erasing.wake();
      keeping.wake();
      partitioning.wake();
      await Promise.all([erasing.ended, keeping.ended, partitioning.ended]);
    },
  };
}
