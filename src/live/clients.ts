import type { Database } from '../database/database.ts';
import { newId } from '../ids.ts';
import type { Log } from '../log.ts';
import { idCursor, keysetQuery, pageOf, type Page, type PageArgs, toPage } from '../paging/page.ts';
import type { Owner } from '../inbox/owner.ts';

export const TRANSPORTS = ['websocket', 'stream', 'sse', 'callback'] as const;
export type Transport = (typeof TRANSPORTS)[number];

/** An open connection of an authenticated user, on any instance. */
export interface ConnectedClient extends Owner {
  id: string;
  instanceId: string;
  transport: Transport;
  connectedAt: Date;
}

export interface Clients {
  /** Lists the connected clients of a tenant, newest first. */
  list(tenantId: string, args: PageArgs): Promise<Page<ConnectedClient>>;
  add(client: Pick<ConnectedClient, 'id' | 'tenantId' | 'userId' | 'transport'>): void;
  remove(id: string): void;
  close(): Promise<void>;
}

export interface ClientsOptions {
  database: Database;
  log: Log;
  /** Interval of this instance's heartbeat, in milliseconds. */
  heartbeatMs?: number;
}

/** Time for which changes are collected before they are written in one statement, in milliseconds. */
const WRITE_MS = 250;
/** An instance is considered dead after this number of missed heartbeats. */
const MISSED_HEARTBEATS = 4;
const DEFAULT_HEARTBEAT_MS = 5_000;

/** Opened and closed connections are collected and written in batches. */
const SAVE_CLIENTS = `with gone as (delete from connected_client where id = any($2::uuid[]))
  insert into connected_client (id, tenant_id, user_id, instance_id, transport, connected_at)
  select * from jsonb_to_recordset($1::jsonb) as client (
    id uuid, tenant_id text, user_id text, instance_id uuid, transport text, connected_at timestamptz)
  on conflict (id) do nothing`;

/** Repairs the list after a lost batch: one statement for all connections of an instance. */
const DELETE_UNKNOWN = 'delete from connected_client where instance_id = $1 and id <> all($2::uuid[])';

/** Runs once, when the instance stops. */
const DELETE_INSTANCE =
  'with gone as (delete from connected_client where instance_id = $1) delete from live_instance where id = $1';

/**
 * Lists connected clients across instances. Each instance writes its own clients, which count while it sends
 * heartbeats.
 */
export function createClients({ database, log, heartbeatMs = DEFAULT_HEARTBEAT_MS }: ClientsOptions): Clients {
  const instanceId = newId();
  const goneAfter = `interval '${heartbeatMs * MISSED_HEARTBEATS} milliseconds'`;
  const open = new Map<string, ConnectedClient>();
  let added: string[] = [];
  let removed: string[] = [];
  let timer: NodeJS.Timeout | undefined;
  /** The previous write. Writes run one after another, so that a late insert does not restore a removed client. */
  let writing: Promise<void> = Promise.resolve();
  /** True when the database contains this instance and all of its clients. */
  let isSynchronized = false;

  const attempt = (failureMessage: string, work: () => Promise<void>): Promise<void> =>
    (writing = writing.then(work).catch((error: unknown) => {
      // The next heartbeat writes all clients again.
      isSynchronized = false;
      log.warn({ error }, failureMessage);
    }));

  const insert = (clients: ConnectedClient[], gone: string[]): Promise<void> =>
    database.asWorker(async (tx) => {
      await tx.query(SAVE_CLIENTS, [JSON.stringify(clients.map(toRow)), gone]);
    });

  const write = (): Promise<void> => {
    timer = undefined;
    const fresh = added.flatMap((id) => open.get(id) ?? []);
    const gone = removed;
    added = [];
    removed = [];
    return attempt('writing connected clients failed, the next heartbeat repeats it', () => insert(fresh, gone));
  };
  const writeSoon = (): void => {
    timer ??= setTimeout(() => void write(), WRITE_MS).unref();
  };

  /** Writes all clients again, after a failed write or after other instances deleted them. */
  const writeAll = async (): Promise<void> => {
    const clients = [...open.values()];
    await database.asWorker(async (tx) => {
      await tx.query(DELETE_UNKNOWN, [instanceId, clients.map(({ id }) => id)]);
    });
    await insert(clients, []);
  };

  const heartbeat = (): Promise<void> =>
    attempt('writing a heartbeat failed, trying again', async () => {
      await database.asWorker(async (tx) => {
        await tx.query(
          `with gone as (
             delete from live_instance where seen_at < now() - ${goneAfter} and id <> $1 returning id
           ), clients as (
             delete from connected_client where instance_id in (select id from gone)
           )
           insert into live_instance (id) values ($1) on conflict (id) do update set seen_at = now()`,
          [instanceId],
        );
      });
      // Other instances may have considered this one dead, e.g. after an outage of the database.
      if (!isSynchronized) await writeAll();
      isSynchronized = true;
    });

  const beat = setInterval(() => void heartbeat(), heartbeatMs).unref();
  void heartbeat();

  return {
    add: (client) => {
      open.set(client.id, { ...client, instanceId, connectedAt: new Date() });
      added.push(client.id);
      writeSoon();
    },
    remove: (id) => {
      if (!open.delete(id)) return;
      removed.push(id);
      writeSoon();
    },
    list: (tenantId, args) => {
      const query = keysetQuery(args, idCursor);
      return database.asTenant(tenantId, async (tx) => {
        const values = [tenantId];
        const rows = await tx.query<ConnectedClient>(
          `select client.id, client.tenant_id as "tenantId", client.user_id as "userId",
             client.instance_id as "instanceId", client.transport, client.connected_at as "connectedAt"
           from connected_client client
           join live_instance instance on instance.id = client.instance_id and instance.seen_at > now() - ${goneAfter}
           where client.tenant_id = $1 ${pageOf('client.id', query, values)}`,
          values,
        );
        return toPage(rows, query);
      });
    },
    close: async () => {
      clearInterval(beat);
      clearTimeout(timer);
      await attempt('removing the instance from the list of live instances failed', () =>
        database.asWorker(async (tx) => {
          await tx.query(DELETE_INSTANCE, [instanceId]);
        }),
      );
    },
  };
}

const toRow = ({ id, tenantId, userId, instanceId, transport, connectedAt }: ConnectedClient) => ({
  id,
  tenant_id: tenantId,
  user_id: userId,
  instance_id: instanceId,
  transport,
  connected_at: connectedAt,
});
