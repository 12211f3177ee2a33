import type { Database } from '../database/database.ts';
import type { Owner } from '../inbox/owner.ts';
import type { Log } from '../log.ts';
import type { Feed } from './feed.ts';
import { createRecent, type Recent } from './recent.ts';

/** Whom a message is for. Everything that is named has to fit; what names nothing is for nobody. */
export interface Destination {
  tenant?: string;
  user?: string;
  /** Whoever holds a role over it. */
  merchant?: string;
  organization?: string;
  /** One connection. */
  client?: string;
}

/** What another service pushes to whoever watches a topic now. */
export interface Signal {
  topic: string;
  data: unknown;
  destination?: Destination | null | undefined;
}

export interface TopicMessage {
  topic: string;
  data: unknown;
  sentAt: Date;
}

export interface Watcher extends Owner {
  clientId: string | undefined;
}

export interface TopicFeeds {
  /** What is pushed to a topic from now on, as far as it is for the watcher. Best effort: it has no past. */
  watch(watcher: Watcher, topic: string): Feed<TopicMessage>;
  /** Hands a message to those who watch on this process. Never waits for anybody. */
  push(signal: Signal): void;
}

/** What a slow watcher may be behind before it misses messages. */
const RECENT = { maxCount: 1_000, maxSize: 4 * 1024 * 1024 };
/** Messages whose destination is still being looked up. More are dropped: they come faster than they can be placed. */
const MAX_PENDING = 10_000;
const PAGE = 200;

type Placed = TopicMessage & { isFor: (watcher: Watcher) => boolean };

/** Those who watch one topic in one tenant. */
interface Channel {
  recent: Recent<Placed>;
  listeners: Set<() => void>;
}

export function createTopicFeeds({ database, log }: { database: Database; log: Log }): TopicFeeds {
  /** By topic and tenant. */
  const channels = new Map<string, Map<string, Channel>>();
  let pending: Signal[] = [];
  let isPlacing = false;

  const place = async (): Promise<void> => {
    isPlacing = true;
    while (pending.length > 0) {
      const signals = pending;
      pending = [];
      try {
        const holders = await findHolders(database, signals, channels);
        for (const signal of signals) deliver(signal, holders);
      } catch (error) {
        log.warn({ error, signals: signals.length }, 'signals dropped, their destination could not be looked up');
      }
    }
    isPlacing = false;
  };

  const deliver = ({ topic, data, destination }: Signal, holders: Holders): void => {
    const sentAt = new Date();
    const { tenant, user, merchant, organization, client } = destination ?? {};
    const byTenant = channels.get(topic);
    if (!byTenant || [tenant, user, merchant, organization, client].every((part) => part === undefined)) return;
    const size = JSON.stringify(data ?? null).length;
    const isFor = (watcher: Watcher): boolean =>
      (tenant === undefined || watcher.tenantId === tenant) &&
      (user === undefined || watcher.userId === user) &&
      (client === undefined || watcher.clientId === client) &&
      (merchant === undefined || holders.has(holderKey(watcher, 'merchant', merchant))) &&
      (organization === undefined || holders.has(holderKey(watcher, 'organization', organization)));
    for (const [tenantId, channel] of byTenant) {
      if (tenant !== undefined && tenant !== tenantId) continue;
      channel.recent.add({ topic, data, sentAt, isFor }, size);
      for (const listener of channel.listeners) listener();
    }
  };

  return {
    push: (signal) => {
      if (!channels.has(signal.topic)) return;
      if (pending.length >= MAX_PENDING) {
        log.warn({ topic: signal.topic }, 'signal dropped, too many at once');
        return;
      }
      pending.push(signal);
      if (!isPlacing) void place();
    },

    watch: (watcher, topic) => {
      const { tenantId } = watcher;
      const find = (): Channel | undefined => channels.get(topic)?.get(tenantId);
      return {
        key: JSON.stringify(['topic', tenantId, topic]),
        get start() {
          return find()?.recent.end ?? 0;
        },
        hasPast: false,
        listen: (listener) => {
          const byTenant = channels.get(topic) ?? new Map<string, Channel>();
          channels.set(topic, byTenant);
          const channel = byTenant.get(tenantId) ?? { recent: createRecent<Placed>(RECENT), listeners: new Set() };
          byTenant.set(tenantId, channel);
          channel.listeners.add(listener);
          return () => {
            channel.listeners.delete(listener);
            if (channel.listeners.size > 0) return;
            byTenant.delete(tenantId);
            if (byTenant.size === 0) channels.delete(topic);
          };
        },
        read: async (after) => {
          const recent = find()?.recent;
          const found = recent?.after(after, PAGE) ?? [];
          const position = found.at(-1)?.position ?? after;
          return {
            entries: found.map(({ position: at, value }) => ({ position: at, item: value })),
            position,
            isMore: recent !== undefined && position < recent.end,
          };
        },
        accepts: (message) => (message as Placed).isFor(watcher),
      };
    },
  };
}

/** Who holds a role over which merchant or organization. */
type Holders = ReadonlySet<string>;

const holderKey = ({ tenantId, userId }: Owner, scope: string, scopeId: string): string =>
  JSON.stringify([tenantId, userId, scope, scopeId]);

/** One statement for all messages, and none where nobody is named by a role. */
async function findHolders(
  database: Database,
  signals: Signal[],
  channels: Map<string, Map<string, Channel>>,
): Promise<Holders> {
  const wanted = signals.flatMap(({ topic, destination }) => {
    const tenants = destination?.tenant === undefined ? [...(channels.get(topic)?.keys() ?? [])] : [destination.tenant];
    return (['merchant', 'organization'] as const).flatMap((scope) => {
      const scopeId = destination?.[scope];
      return scopeId === undefined ? [] : tenants.map((tenant_id) => ({ tenant_id, scope, scope_id: scopeId }));
    });
  });
  if (wanted.length === 0) return new Set();
  const rows = await database.asWorker((tx) =>
    tx.query<Owner & { scope: string; scopeId: string }>(
      `select policy.tenant_id as "tenantId", policy.user_id as "userId", policy.scope, policy.scope_id as "scopeId"
       from (select distinct * from jsonb_to_recordset($1::jsonb) as input (tenant_id text, scope text, scope_id text)) wanted
       join policy_definition policy using (tenant_id, scope, scope_id)`,
      [JSON.stringify(wanted)],
    ),
  );
  return new Set(rows.map((row) => holderKey(row, row.scope, row.scopeId)));
}
