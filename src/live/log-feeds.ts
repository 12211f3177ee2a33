import { AppError } from '../errors.ts';
import { checkLogFilter, type DeliveryLogs, type LogFilter, type NotificationLog } from '../delivery/logs.ts';
import type { Log } from '../log.ts';
import { type Bus, topics } from './bus.ts';
import { pullIterator } from './pull-iterator.ts';
import { createSignal } from './signal.ts';

export interface LogFeeds {
  /** Each delivery record of a tenant when it changes, in its newest state. It has no past: what was before is a query. */
  changed(tenantId: string, filter?: LogFilter | null): AsyncIterableIterator<NotificationLog>;
}

/** Changed records that a reader has not asked for yet. Above this it cannot follow and is told so. */
const MAX_PENDING = 10_000;
const PAGE = 100;
const AGAIN = 'Query the logs and subscribe again.';

export function createLogFeeds({ bus, logs, log }: { bus: Bus; logs: DeliveryLogs; log: Log }): LogFeeds {
  /** Each ends the feed of one reader, who cannot be given what was missed. */
  const open = new Set<(reason: AppError) => void>();
  bus.onGap(() => {
    for (const end of open) end(new AppError('unavailable', `Changes may have been missed. ${AGAIN}`));
  });

  return {
    changed: (tenantId, filter) => {
      checkLogFilter(filter);
      const woken = createSignal();
      // A record that changes twice before it is read is given once, in its newest state.
      const pending = new Set<string>();
      let failure: AppError | undefined;
      const end = (reason: AppError): void => {
        failure = reason;
        pending.clear();
        woken.raise();
      };
      open.add(end);
      const unsubscribe = bus.subscribe(topics.logs(tenantId), (message) => {
        for (const id of Array.isArray(message) ? (message as string[]) : []) pending.add(id);
        if (pending.size > MAX_PENDING) end(new AppError('slow_consumer', `More changed than was read. ${AGAIN}`));
        woken.raise();
      });
      return pullIterator<NotificationLog>({
        next: async () => {
          await woken.wait();
          if (failure) throw failure;
          const ids = [...pending].slice(0, PAGE);
          for (const id of ids) pending.delete(id);
          if (pending.size > 0) woken.raise();
          try {
            const rows = await logs.findMany(tenantId, ids, filter);
            return rows.filter((row) => row !== null);
          } catch (error) {
            log.warn({ error, tenant_id: tenantId }, 'feed not read, trying again');
            for (const id of ids) pending.add(id);
            setTimeout(woken.raise, 500).unref();
            return [];
          }
        },
        stop: () => {
          open.delete(end);
          unsubscribe();
          woken.raise();
        },
      });
    },
  };
}
