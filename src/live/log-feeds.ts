import { checkLogFilter, type DeliveryLogs, type LogFilter, type NotificationLog } from '../delivery/logs.ts';
import { AppError } from '../errors.ts';
import { type Bus, topics } from './bus.ts';
import type { Batch, Feed } from './feed.ts';
import { createRecent, type Recent } from './recent.ts';

export interface LogFeeds {
  /** Each delivery record of a tenant when it changes, in its newest state. It has no past: what was before is a query. */
  changed(tenantId: string, filter?: LogFilter | null): Feed<NotificationLog>;
}

/** Changes that a reader may be behind. Above this it cannot follow and is told so. */
const MAX_BEHIND = 10_000;
const PAGE = 100;
const AGAIN = 'Query the logs and subscribe again.';

/** The ids of one tenant's records that changed, and who wants to know. */
interface Channel {
  recent: Recent<string>;
  /** Positions before this may lack something. */
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
          // Nobody listens any more, so nobody will see what is given here.
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
  if (after < gapAt) throw new AppError('unavailable', `Changes may have been missed. ${AGAIN}`);
  if (after < recent.lostUpTo) throw new AppError('slow_consumer', `More changed than was read. ${AGAIN}`);
  const changes = recent.after(after, PAGE);
  // A record that changes twice before it is read is given once, in its newest state, at its last place.
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
