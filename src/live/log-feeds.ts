import { checkLogFilter, type LogFilter } from '../delivery/log-filter.ts';
import type { DeliveryLogs, NotificationLog } from '../delivery/logs.ts';
import { AppError } from '../errors.ts';
import { type Bus, topics } from './bus.ts';
import type { Batch, Feed } from './feed.ts';
import { createRecent, type Recent } from './recent.ts';

export interface LogFeeds {
  /** Returns a feed of changed delivery records of a tenant, in their current state. It starts now and has no past. */
  changed(tenantId: string, filter?: LogFilter | null): Feed<NotificationLog>;
}

/** Maximum number of changes that a reader may be behind. Beyond that its feed fails with `slow_consumer`. */
const MAX_BEHIND = 10_000;
const PAGE = 100;
const RESUBSCRIBE = 'Query `notificationLogs` and subscribe again.';

/** Ids of changed records of one tenant, and the listeners of its feeds. */
interface Channel {
  recent: Recent<string>;
  /** Changes before this position may be incomplete. */
  gapAt: number;
  listeners: Set<() => void>;
  end: () => void;
}

export function createLogFeeds({ bus, logs }: { bus: Bus; logs: DeliveryLogs }): LogFeeds {
  const channels = new Map<string, Channel>();
  const wake = (channel: Channel): void => {
    for (const listener of channel.listeners) listener();
  };
  bus.onGap(() => {
    for (const channel of channels.values()) {
      channel.recent.add('');
      channel.gapAt = channel.recent.end;
      wake(channel);
    }
  });

  const open = (tenantId: string): Channel => {
    const recent = createRecent<string>({ maxCount: MAX_BEHIND });
    const channel: Channel = {
      recent,
      gapAt: 0,
      listeners: new Set(),
      end: bus.subscribe(topics.logs(tenantId), (message) => {
        for (const id of Array.isArray(message) ? (message as string[]) : []) recent.add(id);
        wake(channel);
      }),
    };
    channels.set(tenantId, channel);
    return channel;
  };

  return {
    changed: (tenantId, filter) => {
      checkLogFilter(filter);
      return {
        key: JSON.stringify(['logs', tenantId, filter ?? null]),
        get start() {
          return channels.get(tenantId)?.recent.end ?? 0;
        },
        hasPast: false,
        listen: (listener) => {
          const channel = channels.get(tenantId) ?? open(tenantId);
          channel.listeners.add(listener);
          return () => {
            channel.listeners.delete(listener);
            if (channel.listeners.size > 0) return;
            channel.end();
            channels.delete(tenantId);
          };
        },
        read: async (after) => {
          const channel = channels.get(tenantId);
          // There is no listener any more, so the result is not used.
          if (!channel) return { entries: [], position: after, isMore: false };
          return readChanges(channel, after, (ids) => logs.findMany(tenantId, ids, filter));
        },
      };
    },
  };
}

async function readChanges(
  { recent, gapAt }: Channel,
  after: number,
  find: (ids: string[]) => Promise<(NotificationLog | null)[]>,
): Promise<Batch<NotificationLog>> {
  if (after < gapAt) throw new AppError('unavailable', `Changes may have been missed. ${RESUBSCRIBE}`);
  if (after < recent.lostUpTo) {
    throw new AppError('slow_consumer', `The subscription is more than ${MAX_BEHIND} changes behind. ${RESUBSCRIBE}`);
  }
  const changes = recent.after(after, PAGE);
  // A record that changed several times is returned once, in its current state, at its last position.
  const positions = new Map<string, number>();
  for (const { value, position } of changes) {
    positions.delete(value);
    positions.set(value, position);
  }
  const position = changes.at(-1)?.position ?? after;
  if (positions.size === 0) return { entries: [], position, isMore: false };
  const rows = await find([...positions.keys()]);
  const entries = rows
    .filter((row) => row !== null)
    .map((row) => ({ item: row, position: positions.get(row.id) as number }));
  return { entries, position, isMore: position < recent.end };
}
