import type { Database } from '../database/database.ts';
import { newId } from '../ids.ts';
import type { Log } from '../log.ts';
import { idCursor, keysetQuery, pageOf, type Page, type PageArgs, toPage } from '../paging/page.ts';
import type { Owner } from '../inbox/owner.ts';

export const TRANSPORTS = ['websocket', 'stream', 'sse', 'callback'] as const;
export type Transport = (typeof TRANSPORTS)[number];

/** An open connection of somebody who is signed in, on whatever instance. */
export interface ConnectedClient extends Owner {
  id: string;
  instanceId: string;
  transport: Transport;
  connectedAt: Date;
}

export interface Clients {
  /** Newest first. */
  list(tenantId: string, args: PageArgs): Promise<Page<ConnectedClient>>;
  add(client: Pick<ConnectedClient, 'id' | 'tenantId' | 'userId' | 'transport'>): void;
  remove(id: string): void;
  close(): Promise<void>;
}

export interface ClientsOptions {
  database: Database;
  log: Log;
  /** How often this instance says that it is alive. Milliseconds. */
  heartbeatMs?: number;
}

/** Connections and disconnections are written down together, this often. Milliseconds. */
const WRITE_MS = 250;
/** An instance that was not seen for so many heartbeats is gone. */
const MISSED_HEARTBEATS = 4;
const DEFAULT_HEARTBEAT_MS = 5_000;

/** Who is connected, across instances: each writes down its own, and vouches for them for as long as it lives. */
export function createClients({ database, log, heartbeatMs = DEFAULT_HEARTBEAT_MS }: ClientsOptions): Clients {
  const instanceId = newId();
  const goneAfter = `interval '${heartbeatMs * MISSED_HEARTBEATS} milliseconds'`;
  const open = new Map<string, ConnectedClient>();
  let added: string[] = [];
  let removed: string[] = [];
  let timer: NodeJS.Timeout | undefined;
  /** Writes follow each other, so that nothing is put back that was taken away. */
  let writing: Promise<void> = Promise.resolve();
  /** Until the instance is known to be there with all of its clients. */
  let isKnown = false;

  const attempt = (what: string, work: () => Promise<void>): Promise<void> =>
    (writing = writing.then(work).catch((error: unknown) => {
      // The next heartbeat writes everything down again.
      isKnown = false;
      log.warn({ error }, what);
    }));

  const insert = (clients: ConnectedClient[], gone: string[]): Promise<void> =>
    database.asWorker(async (tx) => {
      await tx.query(
        `with gone as (delete from connected_client where id = any($2::uuid[]))
         insert into connected_client (id, tenant_id, user_id, instance_id, transport, connected_at)
         select * from jsonb_to_recordset($1::jsonb) as client (
           id uuid, tenant_id text, user_id text, instance_id uuid, transport text, connected_at timestamptz)
         on conflict (id) do nothing`,
        [JSON.stringify(clients.map(toRow)), gone],
      );
    });

  const write = (): Promise<void> => {
    timer = undefined;
    const fresh = added.flatMap((id) => open.get(id) ?? []);
    const gone = removed;
    added = [];
    removed = [];
    return attempt('connections not written down', () => insert(fresh, gone));
  };
  const writeSoon = (): void => {
    timer ??= setTimeout(() => void write(), WRITE_MS).unref();
  };

  /** Writes everything down again: what others threw away, and what could not be written when it came or went. */
  const writeAll = async (): Promise<void> => {
    const clients = [...open.values()];
    await database.asWorker(async (tx) => {
      await tx.query('delete from connected_client where instance_id = $1 and id <> all($2::uuid[])', [
        instanceId,
        clients.map(({ id }) => id),
      ]);
    });
    await insert(clients, []);
  };

  const heartbeat = (): Promise<void> =>
    attempt('heartbeat not written', async () => {
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
      // Others may have taken this instance for dead, e.g. since the database was away.
      if (!isKnown) await writeAll();
      isKnown = true;
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
      await attempt('instance not signed off', () =>
        database.asWorker(async (tx) => {
          await tx.query(
            `with gone as (delete from connected_client where instance_id = $1) delete from live_instance where id = $1`,
            [instanceId],
          );
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
