import { AppError } from '../errors.ts';
import type { DeliveryLogs, LogFilter, NotificationLog } from '../delivery/logs.ts';
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

export function createLogFeeds({ bus, logs, log }: { bus: Bus; logs: DeliveryLogs; log: Log }): LogFeeds {
  return {
    changed: (tenantId, filter) => {
      const woken = createSignal();
      // A record that changes twice before it is read is given once, in its newest state.
      const pending = new Set<string>();
      let isTooSlow = false;
      const unsubscribe = bus.subscribe(topics.logs(tenantId), (message) => {
        for (const id of Array.isArray(message) ? (message as string[]) : []) pending.add(id);
        if (pending.size > MAX_PENDING) {
          isTooSlow = true;
          pending.clear();
        }
        woken.raise();
      });
      return pullIterator<NotificationLog>({
        next: async () => {
          await woken.wait();
          if (isTooSlow) {
            throw new AppError('slow_consumer', 'More changed than was read. Query the logs and subscribe again.');
          }
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
          unsubscribe();
          woken.raise();
        },
      });
    },
  };
}
