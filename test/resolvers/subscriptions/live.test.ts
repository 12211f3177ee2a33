import { once } from 'node:events';

import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';

import { topics } from '../../../src/live/bus.ts';
import type { Service } from '../../../src/service.ts';
import {
  InboxDocument,
  MarkNotificationReadDocument,
  NotificationDocument,
  UnreadCountDocument,
  WatchDeliveriesDocument,
  type WatchDeliveriesSubscription,
  WatchInboxDocument,
} from '../../generated/operations.ts';
import { connectionOutcome, type LiveClient, liveClient, type LiveQueue, query } from '../../support/client.ts';
import { eventually } from '../../support/eventually.ts';
import { startTestService, type TestService, WELCOME_TEMPLATE } from '../../support/service.ts';
import { sql } from '../../support/sql.ts';
import { resumingInbox } from './resuming-inbox.ts';
import { postActivities, postWelcomes, settled } from '../../support/graph-seed.ts';
import { ask } from '../../support/graphql-socket.ts';

const TENANT = 'tenant-live';

describe('live updates', () => {
  let service: TestService;
  /** Another instance. The instances share only the database and Redis. */
  let neighbour: Service;
  let producer: string;
  let people = 0;
  let redis: Redis;
  const open: { close(): Promise<void> }[] = [];

  beforeAll(async () => {
    redis = new Redis(inject('redisUrl'));
    service = await startTestService({ REDIS_URL: inject('redisUrl') });
    neighbour = await service.startAnother();
    producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
    await service.core.templates.publish(TENANT, [WELCOME_TEMPLATE], null);
  });
  afterEach(async () => {
    for (const client of open.splice(0)) await client.close();
  });
  afterAll(async () => {
    redis.disconnect();
    await service.close();
  });

  /** Returns a user whose inbox no other test uses. */
  const newUser = (): string => `person-${(people += 1)}`;
  const tokenOf = (sub: string, ...permissions: string[]): Promise<string> =>
    service.token({ tenant_id: TENANT, sub, permissions });
  const connect = async (to: Pick<Service, 'url'>, sub: string, ...permissions: string[]): Promise<LiveClient> => {
    const live = liveClient(to.url, { token: await tokenOf(sub, ...permissions) });
    open.push(live);
    return live;
  };
  const post = (to: Pick<Service, 'url'>, user: string, ...titles: string[]): Promise<string[]> =>
    postActivities(to, producer, TENANT, [user], titles);
  /** Adds one notification to an inbox and returns its cursor. Subscriptions that start there miss nothing. */
  const begin = async (user: string): Promise<string> => {
    await settled(service.databaseUrl, await post(service, user, 'begin'));
    const { notifications } = await query(service.url, await tokenOf(user), InboxDocument, { first: 1 });
    return notifications.edges[0]?.cursor as string;
  };
  const titlesInDatabase = async (user: string): Promise<string[]> => {
    const rows = await sql<{ title: string }>(
      service.databaseUrl,
      'select title from notification where user_id = $1 order by created_seq',
      [user],
    );
    return rows.map(({ title }) => title);
  };
  type Inbox = LiveQueue<{ data?: { notificationCreated: { title: string | null } } | null }>;
  const take = async (inbox: Inbox, count: number): Promise<(string | null | undefined)[]> => {
    const titles: (string | null | undefined)[] = [];
    while (titles.length < count) titles.push((await inbox.next()).data?.notificationCreated.title);
    return titles;
  };
  const titlesIn = (inbox: Inbox): (string | null | undefined)[] =>
    inbox.pending.map(({ data }) => data?.notificationCreated.title);

  it('deliver each notification that is created after the subscription has started, in order', async () => {
    const user = newUser();
    await begin(user);
    const inbox: Inbox = (await connect(service, user)).subscribe(WatchInboxDocument, {});
    await eventually(async () => {
      await settled(service.databaseUrl, await post(service, user, 'probe'));
      return inbox.pending.length > 0;
    }, 'the first live notification');
    await post(service, user, 'one', 'two');
    await post(service, user, 'three');
    await eventually(() => titlesIn(inbox).includes('three'), 'the last notification');
    const written = await titlesInDatabase(user);
    expect(titlesIn(inbox)).toEqual(written.slice(-inbox.pending.length));
    expect(titlesIn(inbox)).not.toContain('begin');
  });

  it('replay changes after a cursor and then continue live', async () => {
    const user = newUser();
    const after = await begin(user);
    const before = Array.from({ length: 120 }, (_unused, index) => `before-${index}`);
    await settled(service.databaseUrl, await post(service, user, ...before));
    const inbox = (await connect(service, user)).subscribe(WatchInboxDocument, { after });
    expect(await take(inbox, 120)).toEqual((await titlesInDatabase(user)).slice(1));
    await post(service, user, 'live');
    expect(await take(inbox, 1)).toEqual(['live']);
  });

  it('refuse a cursor of another user', async () => {
    const inbox = (await connect(service, newUser())).subscribe(WatchInboxDocument, { after: 'nonsense' });
    await expect(inbox.next()).rejects.toMatchObject({
      errors: [{ extensions: { error_code: 'validation_failed', fields: [{ path: 'after' }] } }],
    });
  });

  it('deliver nothing of other users', async () => {
    const [user, other] = [newUser(), newUser()];
    const after = await begin(user);
    const inbox = (await connect(service, user)).subscribe(WatchInboxDocument, { after });
    const foreign = await service.token({ tenant_id: 'tenant-foreign', permissions: ['notif.ingest'] });
    await settled(service.databaseUrl, [
      ...(await post(service, other, 'for somebody else')),
      ...(await postActivities(service, foreign, 'tenant-foreign', [user], ['for a namesake'])),
    ]);
    await post(service, user, 'mine');
    expect(await take(inbox, 1)).toEqual(['mine']);
  });

  it('lose nothing, repeat nothing and keep the order while 200 notifications arrive and the client is disconnected repeatedly', async () => {
    const user = newUser();
    const after = await begin(user);
    const token = await tokenOf(user);
    // Each connection uses the other instance.
    let turn = 0;
    const inbox = resumingInbox({
      url: () => ((turn += 1) % 2 === 0 ? service : neighbour).url,
      token: async () => token,
      after,
    });
    open.push(inbox);
    const titles = Array.from({ length: 200 }, (_unused, index) => `n-${index}`);
    for (const wave of [0, 50, 100, 150]) {
      const posting = Promise.all(
        [0, 10, 20, 30, 40].map((start) =>
          post(start % 20 === 0 ? service : neighbour, user, ...titles.slice(wave + start, wave + start + 10)),
        ),
      );
      await eventually(() => inbox.seen.length > wave, 'a notification of this wave');
      const { connections } = inbox;
      inbox.drop();
      await eventually(() => inbox.connections > connections, 'the next connection');
      await posting;
    }
    await eventually(() => inbox.seen.length >= 200, 'all notifications');
    expect(inbox.seen).toEqual((await titlesInDatabase(user)).slice(1));
    expect(new Set(inbox.seen)).toEqual(new Set(titles));
  });

  it('reach a subscriber on another instance', async () => {
    const user = newUser();
    const after = await begin(user);
    const inbox: Inbox = (await connect(neighbour, user)).subscribe(WatchInboxDocument, { after });
    // One after another: without the bus each would wait for the periodic read.
    for (const title of ['one', 'two', 'three', 'four', 'five']) {
      await post(service, user, title);
      expect(await take(inbox, 1)).toEqual([title]);
    }
  });

  describe('of delivery records', () => {
    type Deliveries = LiveQueue<{ data?: WatchDeliveriesSubscription | null }>;
    /** Sends events until the subscription delivers one of them, because its start is not observable. */
    const until = async (
      deliveries: Deliveries,
      change: Record<string, unknown>,
      isWanted: (log: WatchDeliveriesSubscription['notificationLogChanged']) => boolean,
    ) => {
      const seen: WatchDeliveriesSubscription['notificationLogChanged'][] = [];
      await eventually(async () => {
        await settled(service.databaseUrl, await postWelcomes(service, producer, TENANT, [change]));
        while (deliveries.pending.length > 0) {
          const { data } = await deliveries.next();
          if (data) seen.push(data.notificationLogChanged);
        }
        return seen.some(isWanted);
      }, 'the delivery record');
      return seen;
    };

    it('arrive from every instance, in their current state', async () => {
      const live = await connect(neighbour, 'admin', 'notif.read.log');
      const deliveries = live.subscribe(WatchDeliveriesDocument, {});
      const seen = await until(deliveries, { event_code: 'user.welcome' }, ({ status }) => status === 'SENT');
      expect(seen.find(({ status }) => status === 'SENT')).toMatchObject({
        eventCode: 'user.welcome',
        recipient: 's***@example.edu.vn',
        attempts: [{ number: 1, outcome: 'OK' }],
      });
    });

    it('are refused with an invalid filter', async () => {
      const live = await connect(neighbour, 'admin', 'notif.read.log');
      const refused = live.subscribe(WatchDeliveriesDocument, { filter: { eventId: 'nonsense' } });
      await expect(refused.next()).rejects.toMatchObject({
        errors: [{ extensions: { error_code: 'validation_failed', fields: [{ path: 'filter.eventId' }] } }],
      });
    });

    it('are delivered only if they match the filter', async () => {
      const live = await connect(neighbour, 'admin', 'notif.read.log');
      const everything = live.subscribe(WatchDeliveriesDocument, {});
      const failures = live.subscribe(WatchDeliveriesDocument, { filter: { statuses: ['FAILED'] } });
      const unknown = live.subscribe(WatchDeliveriesDocument, { filter: { eventCode: 'no.such' } });
      await until(everything, { event_code: 'user.welcome' }, ({ status }) => status === 'SENT');
      const failed = await until(failures, { event_code: 'no.such' }, () => true);
      expect(new Set(failed.map(({ status }) => status))).toEqual(new Set(['FAILED']));
      const [first] = await until(unknown, { event_code: 'no.such' }, () => true);
      expect(first).toMatchObject({ eventCode: 'no.such' });
    });

    it('of another tenant are not delivered', async () => {
      const token = await service.token({ tenant_id: 'tenant-foreign', permissions: ['notif.read.log'] });
      const live = liveClient(neighbour.url, { token });
      open.push(live);
      const foreign = live.subscribe(WatchDeliveriesDocument, {});
      const own = (await connect(neighbour, 'admin', 'notif.read.log')).subscribe(WatchDeliveriesDocument, {});
      const foreignProducer = await service.token({ tenant_id: 'tenant-foreign', permissions: ['notif.ingest'] });
      await until(own, {}, ({ status }) => status === 'SENT');
      await eventually(async () => {
        const change = { event_code: 'foreign' };
        await settled(service.databaseUrl, await postWelcomes(service, foreignProducer, 'tenant-foreign', [change]));
        return foreign.pending.length > 0;
      }, "the record of the user's tenant");
      expect(foreign.pending.map(({ data }) => data?.notificationLogChanged.eventCode)).not.toContain('user.welcome');
    });

    it('contain the current template, not the one at the start of the subscription', async () => {
      const live = await connect(service, 'admin', 'notif.read.log', 'notif.read.template');
      const versions: unknown[] = [];
      const stop = live.client.subscribe<{
        notificationLogChanged: { template: { version: number } | null };
      }>(
        {
          query: `subscription ($filter: NotificationLogFilter) {
            notificationLogChanged(filter: $filter) { template { version } }
          }`,
          variables: { filter: { eventCode: 'changing', statuses: ['SENT'] } },
        },
        {
          next: ({ data }) => versions.push(data?.notificationLogChanged.template?.version),
          error: (error) => versions.push(error),
          complete: () => {},
        },
      );
      for (const version of [1, 2]) {
        const text = { ...WELCOME_TEMPLATE, eventCode: 'changing', subject: `version ${version}` };
        await service.core.templates.publish(TENANT, [text], null);
        await eventually(async () => {
          await settled(
            service.databaseUrl,
            await postWelcomes(service, producer, TENANT, [{ event_code: 'changing' }]),
          );
          return versions.includes(version);
        }, `version ${version}`);
      }
      expect(versions).toEqual(versions.toSorted());
      stop();
    });
  });

  describe('on one socket', () => {
    it('run several subscriptions, queries and mutations concurrently', async () => {
      const user = newUser();
      const after = await begin(user);
      const live = await connect(service, user, 'notif.read.log');
      const [first, second] = [1, 2].map(() => live.subscribe(WatchInboxDocument, { after })) as [Inbox, Inbox];
      const deliveries = live.subscribe(WatchDeliveriesDocument, {});
      await post(service, user, 'both see it');
      expect([await take(first, 1), await take(second, 1)]).toEqual([['both see it'], ['both see it']]);

      const inbox = await live.subscribe(InboxDocument, {}).next();
      expect(inbox.data).toMatchObject({ unreadNotificationCount: 2 });
      const id = inbox.data?.notifications.edges[0]?.node.id as string;
      const marked = await live.subscribe(MarkNotificationReadDocument, { id }).next();
      expect(marked.data?.markNotificationRead).toMatchObject({ id, readAt: expect.any(String) });
      expect((await live.subscribe(UnreadCountDocument, {}).next()).data).toEqual({ unreadNotificationCount: 1 });

      first.stop();
      await post(service, user, 'only one is left');
      expect(await take(second, 1)).toEqual(['only one is left']);
      expect(first.pending).toEqual([]);
      await eventually(async () => {
        if (deliveries.pending.length === 0) await post(service, newUser(), 'more');
        return deliveries.pending.length > 0;
      }, 'a delivery record');
    });

    it('return the error code of a mutation, as over HTTP', async () => {
      const live = await connect(service, newUser());
      const { data, errors } = await live.subscribe(MarkNotificationReadDocument, { id: 'x' }).next();
      expect(data).toBeNull();
      expect(errors).toMatchObject([{ extensions: { code: 'NOT_FOUND', error_code: 'not_found' } }]);
    });

    it('can be cancelled one by one, and release all resources', async () => {
      const user = newUser();
      const after = await begin(user);
      const live = await connect(service, user);
      await settled(service.databaseUrl, await post(service, user, 'again'));
      const channels = async (): Promise<number> =>
        Number((await redis.pubsub('NUMSUB', topics.inbox(TENANT, user)))[1]);
      for (let round = 0; round < 500; round += 1) {
        const inbox = live.subscribe(WatchInboxDocument, { after });
        if (round % 50 === 0) await take(inbox, 1);
        inbox.stop();
      }
      await eventually(async () => (await channels()) === 0, 'the end of every subscription');
      const inbox = live.subscribe(WatchInboxDocument, { after });
      expect(await take(inbox, 1)).toEqual(['again']);
      await eventually(async () => (await channels()) === 1, 'the remaining subscription');
    });

    it.each([
      ['a syntax error', '{ unreadNotificationCount', 'GRAPHQL_PARSE_FAILED'],
      ['an unknown field', '{ nothing }', 'GRAPHQL_VALIDATION_FAILED'],
      ['a variable of the wrong type', 'query ($id: ID!) { notification(id: $id) { id } }', 'BAD_USER_INPUT'],
      ['no operation', 'fragment a on Query { __typename }', 'GRAPHQL_VALIDATION_FAILED'],
    ])('are refused with an error message for %s, and the socket stays open', async (_what, text, code) => {
      const live = await connect(service, newUser());
      const { refusal } = await ask(live.client, text, { id: [] });
      expect(refusal).toMatchObject([
        { extensions: { code, error_code: 'validation_failed', trace_id: expect.any(String) } },
      ]);
      expect((await live.subscribe(UnreadCountDocument, {}).next()).data).toEqual({ unreadNotificationCount: 0 });
    });

    it('are refused for an unknown operation name', async () => {
      const live = await connect(service, newUser());
      const { refusal } = await ask(live.client, 'query A { unreadNotificationCount }', {}, 'B');
      expect(refusal).toMatchObject([
        { extensions: { code: 'OPERATION_RESOLUTION_FAILURE', error_code: 'validation_failed' } },
      ]);
    });
  });

  describe('close a socket', () => {
    const closing = async (socket: WebSocket): Promise<number> =>
      ((await once(socket, 'close')) as [{ code: number }])[0].code;

    it('that sends connection_init twice', async () => {
      const { socket } = await connectionOutcome(service.url, { token: await tokenOf('anna') });
      socket.send(JSON.stringify({ type: 'connection_init' }));
      expect(await closing(socket)).toBe(4429);
    });

    it.each([
      ['is not JSON', 'hello', 4400],
      ['is not a protocol message', '{"type":"steal"}', 4400],
      ['has no query', '{"type":"subscribe","id":"1","payload":{}}', 4400],
    ])('whose message %s', async (_what, message, code) => {
      const { socket } = await connectionOutcome(service.url, { token: await tokenOf('anna') });
      socket.send(message);
      expect(await closing(socket)).toBe(code);
    });

    it('that subscribes before connection_init', async () => {
      const socket = new WebSocket(`${service.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
      await once(socket, 'open');
      socket.send(JSON.stringify({ type: 'subscribe', id: '1', payload: { query: '{ unreadNotificationCount }' } }));
      expect(await closing(socket)).toBe(4401);
    });

    it('that requests no subprotocol', async () => {
      expect(await closing(new WebSocket(`${service.url.replace('http', 'ws')}/graphql`))).toBe(4406);
    });

    it('with 1001 on shutdown, and a client continues on another instance without loss', async () => {
      const user = newUser();
      const after = await begin(user);
      const mortal = await service.startAnother();
      let target = mortal.url;
      const token = await tokenOf(user);
      const inbox = resumingInbox({ url: () => target, token: async () => token, after });
      open.push(inbox);
      await post(service, user, 'before');
      await eventually(() => inbox.seen.length === 1, 'the first notification');
      target = service.url;
      const posting = post(service, user, 'meanwhile-1', 'meanwhile-2');
      await mortal.close();
      await posting;
      await post(service, user, 'after');
      await eventually(() => inbox.seen.length === 4, 'the other notifications');
      expect(inbox.closeCodes).toEqual([1001]);
      expect(inbox.seen).toEqual((await titlesInDatabase(user)).slice(1));
      const { notification } = await query(service.url, token, NotificationDocument, { id: 'x' });
      expect(notification).toBeNull();
    });
  });
});
