import type { Database } from '../database/database.ts';
import type { Owner } from '../inbox/owner.ts';
import type { Log } from '../log.ts';
import type { Feed } from './feed.ts';
import { createRecent, type Recent } from './recent.ts';

/** Receivers of a message. A receiver must match all given fields. Without fields the message has no receiver. */
export interface Destination {
  tenant?: string;
  user?: string;
  /** Users with a role over this merchant. */
  merchant?: string;
  /** Users with a role over this organization. */
  organization?: string;
  /** Id of one connection. */
  client?: string;
}

/** A message from another service to current subscribers of a topic. */
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
  /** Returns a feed of messages of a topic for the watcher, from now on. Best effort, without past messages. */
  watch(watcher: Watcher, topic: string): Feed<TopicMessage>;
  /** Sends a message to subscribers of this process, without waiting. */
  push(signal: Signal): void;
}

/** Limits of the buffer of a topic. A subscriber that falls behind them misses messages. */
const RECENT = { maxCount: 1_000, maxSize: 4 * 1024 * 1024 };
/** Maximum number of messages that wait for the look-up of their destination. Further messages are dropped. */
const MAX_PENDING = 10_000;
const PAGE = 200;

type Addressed = TopicMessage & { isFor: (watcher: Watcher) => boolean };

/** Recent messages and listeners of one topic in one tenant. */
interface Channel {
  recent: Recent<Addressed>;
  listeners: Set<() => void>;
}

export function createTopicFeeds({ database, log }: { database: Database; log: Log }): TopicFeeds {
  /** By topic and tenant. */
  const channels = new Map<string, Map<string, Channel>>();
  let pending: Signal[] = [];
  let isDelivering = false;

  const deliverPending = async (): Promise<void> => {
    isDelivering = true;
    while (pending.length > 0) {
      const signals = pending;
      pending = [];
      try {
        const holders = await findHolders(database, signals, channels);
        for (const signal of signals) deliver(signal, holders);
      } catch (error) {
        log.warn({ error, signals: signals.length }, 'signals dropped, looking up their destinations failed');
      }
    }
    isDelivering = false;
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
        log.warn({ topic: signal.topic }, 'signal dropped, too many are waiting for delivery');
        return;
      }
      pending.push(signal);
      if (!isDelivering) void deliverPending();
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
          const channel = byTenant.get(tenantId) ?? { recent: createRecent<Addressed>(RECENT), listeners: new Set() };
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
        accepts: (message) => (message as Addressed).isFor(watcher),
      };
    },
  };
}

/** Keys of users with a role over a merchant or organization: see `holderKey`. */
type Holders = ReadonlySet<string>;

const holderKey = ({ tenantId, userId }: Owner, scope: string, scopeId: string): string =>
  JSON.stringify([tenantId, userId, scope, scopeId]);

/** Resolves the audiences of a whole batch of topic events in one query. */
const RESOLVE_HOLDERS = `select policy.tenant_id as "tenantId", policy.user_id as "userId", policy.scope, policy.scope_id as "scopeId"
  from (select distinct * from jsonb_to_recordset($1::jsonb) as input (tenant_id text, scope text, scope_id text)) wanted
  join policy_definition policy using (tenant_id, scope, scope_id)`;

/** Finds the users with roles that the messages name. Runs one statement for all messages. */
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
    tx.query<Owner & { scope: string; scopeId: string }>(RESOLVE_HOLDERS, [JSON.stringify(wanted)]),
  );
  return new Set(rows.map((row) => holderKey(row, row.scope, row.scopeId)));
}
