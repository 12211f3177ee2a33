import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';

import { connect, resume } from '../../client/index.ts';
import { changeInbox, type InboxAction } from '../../src/inbox/change.ts';
import { writeToInboxes } from '../../src/inbox/write.ts';
import { topics } from '../../src/live/bus.ts';
import {
  ArchiveNotificationDocument,
  MarkNotificationReadDocument,
  MarkNotificationUnreadDocument,
} from '../generated/operations.ts';
import { type ResumingInbox, resumingInbox } from '../resolvers/subscriptions/resuming-inbox.ts';
import { postActivities } from '../support/graph-seed.ts';
import { type OwnRedis, ownRedis } from '../services/own-redis.ts';
import { type ChildService, startChild } from '../support/child.ts';
import { run } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { startTestService, type TestService } from '../support/service.ts';
import { sql } from '../support/sql.ts';
import { type TcpProxy, tcpProxy } from '../support/tcp-proxy.ts';

const TENANT = 'tenant-convergence';
const USERS = ['anna', 'bình', 'chi', 'dũng'];
/** Position before the first change. */
const START = Buffer.from('in:0').toString('base64url');
const CHANGES = `subscription ($after: String) {
  inboxChanged(after: $after) { cursor unreadCount notification { id title readAt archivedAt } }
}`;

interface State {
  id: string;
  title: string;
  readAt: string | null;
  archivedAt: string | null;
}

/** An inbox that is built from changes only. */
interface Picture {
  user: string;
  /** Positions in order of arrival, over all connections. */
  positions: number[];
  states: Map<string, State>;
  unreadCount: number;
  cut(): void;
  close(): unknown;
}

const at = (date: Date | string | null): string | null => (date === null ? null : new Date(date).toISOString());
const any = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)] as T;

/**
 * Runs all failures that are possible between a commit and a client, and checks that each client ends with the state of
 * the database.
 */
describe('an inbox that is watched during many failures', () => {
  let redis: OwnRedis;
  let publisher: Redis;
  let service: TestService;
  let proxies: TcpProxy[];
  let children: ChildService[];
  let producer: string;
  /** URLs of the running instances. */
  let urls: string[];

  beforeAll(async () => {
    redis = await ownRedis(inject('redisUrl'));
    publisher = new Redis(redis.url, { maxRetriesPerRequest: 0, enableOfflineQueue: false });
    publisher.on('error', () => {});
    service = await startTestService({ REDIS_URL: redis.url, DELIVERY_LEASE_MS: '1000' });
    producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
    // Delays each transaction of the service before its commit by a different time.
    await sql(
      service.env['DATABASE_OWNER_URL'] as string,
      `create function hold_open() returns trigger language plpgsql as $$
         begin perform pg_sleep(random() * random() * 0.1); return null; end $$;
       create constraint trigger hold_open after insert or update on inbox deferrable initially deferred
         for each row execute function hold_open()`,
    );
    children = await Promise.all([1, 2].map(() => startChild(childEnv())));
    proxies = await Promise.all(children.map(({ url }) => tcpProxy('127.0.0.1', Number(new URL(url).port))));
    urls = [service.url, ...proxies.map(({ port }) => `http://127.0.0.1:${port}`)];
  }, 60_000);
  afterAll(async () => {
    publisher.disconnect();
    await Promise.all(children.map((child) => child.kill('SIGKILL')));
    await Promise.all(proxies.map((proxy) => proxy.shut()));
    await service.close();
    await redis.stop();
  });

  // Its log contains its URL.
  const childEnv = (): Record<string, string> => ({ ...service.env, LOG_LEVEL: 'info' });
  const tokenOf = (sub: string): Promise<string> => service.token({ tenant_id: TENANT, sub });

  /** The published client, over the sealed connection. Each connection uses another instance. */
  function watch(user: string): Picture {
    const client = connect({ url: () => `${any(urls).replace('http', 'ws')}/stream`, token: () => tokenOf(user) });
    type Data = { inboxChanged: { cursor: string; unreadCount: number; notification: State } };
    const changes = resume<Data>(client, {
      query: CHANGES,
      after: START,
      cursorOf: (data) => data.inboxChanged.cursor,
    });
    const picture: Picture = {
      user,
      positions: [],
      states: new Map(),
      unreadCount: 0,
      cut: () => client.terminate(),
      close: () => changes.return?.(),
    };
    const follow = async (): Promise<void> => {
      for await (const { data } of changes) {
        if (!data) continue;
        const { cursor, unreadCount, notification } = data.inboxChanged;
        picture.positions.push(Number(Buffer.from(cursor, 'base64url').toString().slice('in:'.length)));
        picture.states.set(notification.id, notification);
        picture.unreadCount = unreadCount;
      }
    };
    void follow();
    return picture;
  }

  /** Calls a random instance until one answers. */
  async function insist(say: (url: string) => Promise<unknown>): Promise<void> {
    for (let tries = 0; tries < 100; tries += 1) {
      try {
        await say(any(urls));
        return;
      } catch {
        await delay(20);
      }
    }
    throw new Error('no instance answered in 100 attempts');
  }
  let written = 0;
  const post = (users: string[], count: number): Promise<void> => {
    const titles = Array.from({ length: count }, () => `n-${(written += 1)}`);
    // Retries use the same ids, because an instance may die before it answers.
    const ids = titles.map(() => randomUUID());
    return insist((url) => postActivities({ url }, producer, TENANT, users, titles, (index) => ({ id: ids[index] })));
  };
  const changeSome = async (user: string): Promise<void> => {
    const [row] = await sql<{ id: string }>(
      service.databaseUrl,
      'select id from notification where user_id = $1 order by random() limit 1',
      [user],
    );
    const document = any([MarkNotificationReadDocument, MarkNotificationUnreadDocument, ArchiveNotificationDocument]);
    const token = await tokenOf(user);
    if (row) await insist((url) => run(url, token, document as typeof MarkNotificationReadDocument, { id: row.id }));
  };

  /** A writer that commits or rolls back on command. It publishes to Redis if Redis is running. */
  async function slowly(user: string, action: 'create' | InboxAction) {
    const client = new pg.Client({ connectionString: service.env['DATABASE_OWNER_URL'] });
    await client.connect();
    await client.query('begin');
    const query = async (text: string, values?: unknown[]) => (await client.query(text, values)).rows as never;
    const tx = { query, queryPlanned: query };
    if (action === 'create') {
      const [logId, leaseToken, title] = [randomUUID(), randomUUID(), `n-${(written += 1)}`];
      await client.query(
        `insert into notification_log select (jsonb_populate_record(log, $1::jsonb)).* from notification_log log limit 1`,
        [JSON.stringify({ id: logId, event_id: logId, lease_token: leaseToken, status: 'sent' })],
      );
      const content = { type: 'slow', title, body: 'slow' };
      const audience = { scope: 'users' as const, userIds: [user] };
      const entry = { logId, leaseToken, tenantId: TENANT, audience, content, category: null };
      await writeToInboxes(tx, [{ ...entry, consent: 'not_needed' }]);
    } else {
      await changeInbox(tx, { tenantId: TENANT, userId: user }, action, { before: null });
    }
    return async (end: 'commit' | 'rollback'): Promise<void> => {
      await client.query(end);
      await client.end();
      await publisher.publish(topics.inbox(TENANT, user), 'null').catch(() => {});
    };
  }

  const settled = (): Promise<unknown> =>
    eventually(async () => {
      const open = await sql(
        service.databaseUrl,
        `select 1 from notification_log where status in ('queued', 'sending', 'retrying')`,
      );
      return open.length === 0;
    }, 'the end of all deliveries');

  /** A simple implementation for comparison: it continues after the newest id that it has seen. */
  function naiveReader() {
    const seen = new Set<string>();
    let last = '00000000-0000-0000-0000-000000000000';
    const poll = async (): Promise<void> => {
      const rows = await sql<{ id: string }>(
        service.databaseUrl,
        'select id from notification where id > $1 order by id',
        [last],
      );
      for (const { id } of rows) seen.add(id);
      last = rows.at(-1)?.id ?? last;
    };
    return { seen, poll };
  }

  it('converges: every change arrives once and in order', async () => {
    const pictures = USERS.flatMap((user) => [watch(user), watch(user)]);
    // A client for new notifications only, over the plain connection.
    const arrivals = await Promise.all(
      USERS.map(async (user): Promise<ResumingInbox & { user: string }> => {
        const inbox = resumingInbox({ url: () => any(urls), token: () => tokenOf(user), after: START });
        return Object.assign(inbox, { user });
      }),
    );
    const naive = naiveReader();
    await post(USERS, 1);
    await eventually(() => pictures.every(({ positions }) => positions.length > 0), 'the first change of every client');

    const [first, second] = children as [ChildService, ChildService];
    const disasters: (() => Promise<unknown>)[] = [
      async () => {
        await proxies[0]?.shut();
        await proxies[0]?.open();
      },
      () => redis.killConnections('pubsub'),
      async () => {
        await second.kill('SIGKILL');
        urls = urls.slice(0, 2);
      },
      () => redis.restart(),
      () => redis.killConnections('normal'),
      async () => {
        const heir = await startChild(childEnv());
        children.push(heir);
        urls = [...urls, heir.url];
      },
      async () => {
        for (const { cut } of pictures) cut();
        for (const { drop } of arrivals) drop();
      },
      async () => {
        await redis.kill();
        await post(USERS, 5);
        await redis.start();
      },
      () => first.kill('SIGKILL').then(() => (urls = urls.filter((url) => !url.endsWith(`:${proxies[0]?.port}`)))),
    ];
    for (const disaster of disasters) {
      const [patient, hasty] = USERS.toSorted(() => Math.random() - 0.5) as [string, string];
      const end = await slowly(patient, any(['create', 'create', 'read', 'archive']));
      const undo = await slowly(hasty, 'create');
      const work = [
        post(
          USERS.filter((user) => user !== patient && user !== hasty),
          10,
        ),
        post([any(USERS)], 5),
        ...USERS.flatMap((user) => [changeSome(user), changeSome(user)]),
      ];
      await Promise.all([disaster(), delay(Math.random() * 100)]);
      await naive.poll();
      await Promise.all([end('commit'), undo(any(['commit', 'rollback']))]);
      await Promise.all(work);
      await naive.poll();
    }
    await settled();
    await naive.poll();
    // One writer commits a row that is older than rows that were read before the commit.
    const end = await slowly('anna', 'create');
    const before = naive.seen.size;
    await post(['bình'], 1);
    await eventually(async () => {
      await naive.poll();
      return naive.seen.size > before;
    }, 'a newer row for the simple reader');
    await end('commit');
    await settled();
    await naive.poll();

    for (const picture of pictures) picture.cut();
    for (const { drop } of arrivals) drop();
    const rows = await sql<{
      id: string;
      userId: string;
      title: string;
      seq: number;
      readAt: Date | null;
      archivedAt: Date | null;
    }>(
      service.databaseUrl,
      `select id, user_id as "userId", title, seq::int, read_at as "readAt", archived_at as "archivedAt"
       from notification order by user_id, created_seq`,
    );
    const inboxes = await sql<{ userId: string; last: number; unread: number }>(
      service.databaseUrl,
      'select user_id as "userId", last_seq::int as last, unread_count as unread from inbox',
    );
    for (const picture of pictures) {
      const { user, positions, states } = picture;
      const own = rows.filter(({ userId }) => userId === user);
      const inbox = inboxes.find(({ userId }) => userId === user);
      await eventually(() => positions.at(-1) === inbox?.last, `the newest change of ${user}`);
      const known = [...states.values()].map((state) => ({
        ...state,
        readAt: at(state.readAt),
        archivedAt: at(state.archivedAt),
      }));
      const wanted = own.map(({ id, title, readAt, archivedAt }) => ({
        id,
        title,
        readAt: at(readAt),
        archivedAt: at(archivedAt),
      }));
      expect(new Map(known.map((state) => [state.id, state])), user).toEqual(
        new Map(wanted.map((state) => [state.id, state])),
      );
      expect(positions, 'once, in order').toEqual([...new Set(positions)].toSorted((a, b) => a - b));
      expect(positions, 'each change that stands').toEqual(expect.arrayContaining(own.map(({ seq }) => seq)));
      expect(picture.unreadCount, user).toBe(inbox?.unread);
    }
    for (const { user, seen } of arrivals) {
      const titles = rows.filter(({ userId }) => userId === user).map(({ title }) => title);
      await eventually(() => seen.length >= titles.length, `all arrivals of ${user}`);
      expect(seen, user).toEqual(titles);
    }
    const missed = rows.filter(({ id }) => !naive.seen.has(id));
    expect(missed.length, 'what the naive reader does not know of').toBeGreaterThan(0);
    for (const picture of [...pictures, ...arrivals]) await picture.close();
  }, 60_000);
});
