import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';

import { topics } from '../../../src/live/bus.ts';
import {
  ArchiveNotificationDocument,
  InboxDocument,
  MarkNotificationReadDocument,
  UnreadCountDocument,
  WatchChangesDocument,
  WatchDeliveriesDocument,
  WatchInboxDocument,
} from '../../generated/operations.ts';
import { query } from '../../support/client.ts';
import { eventually } from '../../support/eventually.ts';
import { type HttpPeer, startHttpPeer } from '../../support/http-peer.ts';
import { postEvent, startTestService, type TestService } from '../../support/service.ts';
import { type HiveGateways, startHiveGateways } from '../../support/transports/hive-gateway.ts';
import { overCallback, overSse, overWebSocket, type Subscribe } from '../../support/transports/transports.ts';
import { postActivities } from '../../support/graph-seed.ts';

const TENANT = 'tenant-transports';
/** Position before the first change. */
const START = Buffer.from('in:0').toString('base64url');

let service: TestService;
let gateway: HttpPeer;
let hive: HiveGateways;
let redis: Redis;
beforeAll(async () => {
  redis = new Redis(inject('redisUrl'));
  [gateway, hive] = await Promise.all([startHttpPeer(), startHiveGateways()]);
  service = await startTestService({
    REDIS_URL: inject('redisUrl'),
    CALLBACK_URLS: `${gateway.url}/callback,${hive.urls.callback}/callback`,
  });
  await hive.standBefore(service.url);
});
afterAll(async () => {
  await hive.close();
  await service.close();
  await gateway.close();
  redis.disconnect();
});

interface Transport {
  name: string;
  subscribe: Subscribe;
  /** The gateway reports a refusal with its own error. When a stream ends, it retries for half a minute first. */
  isOpaque?: boolean;
}

const TRANSPORTS: Transport[] = [
  { name: 'graphql-transport-ws', subscribe: overWebSocket(() => service.url) },
  { name: 'server-sent events', subscribe: overSse(() => service.url) },
  {
    name: 'the HTTP callback protocol',
    subscribe: overCallback(
      () => service.url,
      () => gateway,
    ),
  },
  {
    name: 'a Hive Gateway with WebSocket',
    subscribe: overSse(() => hive.urls.ws),
    isOpaque: true,
  },
  {
    name: 'a Hive Gateway with server-sent events',
    subscribe: overSse(() => hive.urls.sse),
  },
  {
    name: 'a Hive Gateway with HTTP callbacks',
    subscribe: overSse(() => hive.urls.callback),
  },
];

/** Returns the number of connections of a user in connectedClients. */
const connectionsOf = async (userId: string): Promise<number> =>
  (await service.core.clients.list(TENANT, { first: 100 })).rows.filter((row) => row.userId === userId).length;
/** Returns whether the service listens to wake-ups of an inbox. */
const isFed = async (userId: string): Promise<boolean> =>
  Number((await redis.pubsub('NUMSUB', topics.inbox(TENANT, userId)))[1]) > 0;

describe.concurrent.each(TRANSPORTS)('a subscription over $name', ({ name, subscribe, isOpaque }) => {
  const user = (role: string): string => `${role} over ${name}`;
  const tokenOf = (sub: string, permissions: string[] = [], tenant_id = TENANT): Promise<string> =>
    service.token({ tenant_id, sub, permissions });
  const post = async (users: string[], titles: string[], tenant = TENANT): Promise<string[]> =>
    postActivities(service, await tokenOf('producer', ['notif.ingest'], tenant), tenant, users, titles);
  const refusal = (code: string): object[] => (isOpaque ? [{}] : [{ extensions: { error_code: code } }]);
  const connected = async (userId: string, count: number): Promise<void> => {
    await eventually(async () => (await connectionsOf(userId)) === count, `${count} connections of ${userId}`);
    await eventually(async () => (await isFed(userId)) === count > 0, `${count} feeds of ${userId}`);
  };

  it('delivers notifications to their recipients only', async () => {
    const anna = user('anna');
    const token = await tokenOf(anna);
    const watch = subscribe(WatchInboxDocument, {}, token);
    await connected(anna, 1);
    await post([anna], ['of another tenant'], 'tenant-elsewhere');
    await post([user('somebody else')], ['of somebody else']);
    await post([anna], ['first', 'second']);
    await eventually(() => watch.results.length >= 2, 'both notifications');
    expect(watch.results.map(({ data }) => data?.notificationCreated.title)).toEqual(['first', 'second']);
    expect(watch.end).toBeUndefined();
    watch.stop();
    await connected(anna, 0);
  });

  it('replays changes after a cursor and continues live, each once and in order', async () => {
    const ben = user('ben');
    const token = await tokenOf(ben);
    const titles = Array.from({ length: 30 }, (_unused, index) => `n${index}`);
    await post([ben], titles.slice(0, 10));
    const page = await eventually(async () => {
      const found = await query(service.url, token, InboxDocument, { first: 100 });
      return found.notifications.edges.length === 10 && found;
    });
    const ids = page.notifications.edges.map(({ node }) => node.id).toReversed();
    await query(service.url, token, MarkNotificationReadDocument, { id: ids[0] as string });

    const watch = subscribe(WatchChangesDocument, { after: START }, token);
    await post([ben], titles.slice(10, 20));
    await connected(ben, 1);
    await query(service.url, token, ArchiveNotificationDocument, { id: ids[1] as string });
    await post([ben], titles.slice(20));

    const latest = (): Map<string, string> =>
      new Map(
        watch.results.flatMap(({ data }) =>
          data ? [[String(data.inboxChanged.notification.title), data.inboxChanged.kind] as const] : [],
        ),
      );
    await eventually(() => latest().size === 30 && latest().get('n1') === 'ARCHIVED', 'every change');
    const cursors = watch.results.map(({ data }) => data?.inboxChanged.cursor as string);
    const positions = cursors.map((cursor) => Number(Buffer.from(cursor, 'base64url').toString().slice(3)));
    expect(positions).toEqual([...new Set(positions)].toSorted((a, b) => a - b));
    expect(Object.fromEntries(latest())).toEqual({
      ...Object.fromEntries(titles.map((title) => [title, 'CREATED'])),
      n0: 'READ',
      n1: 'ARCHIVED',
    });
    expect(watch.results.at(-1)?.data?.inboxChanged.unreadCount).toBe(28);
    watch.stop();
    await connected(ben, 0);
  });

  it.each([
    { who: 'a caller without a token', permissions: undefined, document: WatchInboxDocument, code: 'unauthenticated' },
    {
      who: 'a user without the permission',
      permissions: [],
      document: WatchDeliveriesDocument,
      code: 'permission_denied',
    },
  ])('is refused for $who', async ({ permissions, document, code }) => {
    const cleo = user('cleo');
    const token = permissions && (await tokenOf(cleo, permissions));
    const watch = subscribe(document as typeof WatchInboxDocument, {}, token);
    const { errors } = await eventually(() => watch.end, 'the refusal');
    expect(watch.results).toEqual([]);
    expect(errors).toMatchObject(refusal(code));
    await connected(cleo, 0);
  });

  it('is refused with invalid variables', async () => {
    const watch = subscribe(WatchInboxDocument, { after: 'nonsense' }, await tokenOf(user('dora')));
    const { errors } = await eventually(() => watch.end, 'the refusal');
    expect(errors).toMatchObject(refusal('validation_failed'));
    watch.stop();
    await connected(user('dora'), 0);
  });

  it('ends when the token is revoked, and delivers nothing afterwards', async () => {
    const emil = user('emil');
    const watch = subscribe(WatchInboxDocument, {}, await tokenOf(emil));
    await connected(emil, 1);
    await post([emil], ['before']);
    await eventually(() => watch.results.length === 1, 'the notification before');
    const admin = await tokenOf('admin', ['notif.ingest', 'notif.write.config']);
    const { status } = await postEvent(service, admin, 'token.revoked', {
      tenant_id: TENANT,
      user_id: emil,
      at: new Date(Date.now() + 1_000).toISOString(),
    });
    expect(status).toBe(202);
    await eventually(() => watch.end ?? isOpaque, 'the end of the subscription');
    await connected(emil, 0);
    const fred = user('fred');
    const witness = subscribe(WatchInboxDocument, {}, await tokenOf(fred));
    await connected(fred, 1);
    await post([emil, fred], ['after']);
    await eventually(() => witness.results.length === 1, 'the notification of another user');
    expect(watch.results.map(({ data }) => data?.notificationCreated.title)).toEqual(['before']);
    expect(watch.end?.errors ?? [{}]).toMatchObject(refusal('token_revoked'));
    watch.stop();
    witness.stop();
    await connected(fred, 0);
  });

  it('stays open without events until the token expires', async () => {
    const gwen = user('gwen');
    await post([gwen], ['before']);
    const token = await service.token({ tenant_id: TENANT, sub: gwen }, '6s');
    const watch = subscribe(WatchInboxDocument, { after: START }, token);
    await eventually(() => watch.results.length === 1, 'the notification before');
    await connected(gwen, 1);
    await eventually(() => watch.end ?? isOpaque, 'the end of the subscription');
    await connected(gwen, 0);
    expect(watch.end?.errors ?? [{}]).toMatchObject(refusal('token_expired'));
    expect(watch.results.length).toBe(1);
    watch.stop();
  });
});

describe('all transports', () => {
  it('share the limit of connections', async () => {
    const narrow = await service.startAnother({ LIVE_MAX_SOCKETS_PER_USER: '1' });
    const url = (): string => narrow.url;
    const over = { ws: overWebSocket(url), sse: overSse(url), callback: overCallback(url, () => gateway) };
    for (const [name, subscribe] of Object.entries(over)) {
      const ida = `ida over ${name}`;
      const token = await service.token({ tenant_id: TENANT, sub: ida });
      const first = subscribe(WatchInboxDocument, {}, token);
      await eventually(async () => (await connectionsOf(ida)) === 1, 'the first connection');
      for (const another of Object.values(over)) {
        const refused = another(WatchInboxDocument, {}, token);
        const { errors } = await eventually(() => refused.end, 'the refusal');
        expect(errors).toMatchObject([{ extensions: { error_code: 'rate_limited' } }]);
      }
      first.stop();
      await eventually(async () => (await connectionsOf(ida)) === 0, 'the end of the first connection');
    }
  });
});

describe('server-sent events', () => {
  const ask = async (method: 'GET' | 'POST', query: string, token?: string, url = service.url) => {
    const search = method === 'GET' ? `?${new URLSearchParams({ query })}` : '';
    const response = await fetch(`${url}/graphql${search}`, {
      method,
      headers: {
        accept: 'text/event-stream',
        ...(method === 'POST' && { 'content-type': 'application/json' }),
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      ...(method === 'POST' && { body: JSON.stringify({ query }) }),
    });
    return { status: response.status, text: await response.text() };
  };
  const tokenOf = (sub: string) => service.token({ tenant_id: TENANT, sub });

  it.each(['GET', 'POST'] as const)('also return the result of a query sent by %s', async (method) => {
    const { status, text } = await ask(method, '{ unreadNotificationCount }', await tokenOf('ilja'));
    expect(status).toBe(200);
    expect(text).toBe('event: next\ndata: {"data":{"unreadNotificationCount":0}}\n\nevent: complete\ndata:\n\n');
  });

  it('refuse a mutation by GET, which another site could send', async () => {
    const jana = await tokenOf('jana');
    await postActivities(
      service,
      await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] }),
      TENANT,
      ['jana'],
      ['unread'],
    );
    const unread = async () => (await query(service.url, jana, UnreadCountDocument)).unreadNotificationCount;
    await eventually(async () => (await unread()) === 1, 'the notification');
    const { status } = await ask('GET', 'mutation { markAllNotificationsRead }', jana);
    expect({ status, unread: await unread() }).toEqual({ status: 405, unread: 1 });
    expect(await ask('POST', 'mutation { markAllNotificationsRead }', jana)).toMatchObject({ status: 200 });
    expect(await unread()).toBe(0);
  });

  it('end with an error and without `complete` on shutdown, so that the client reconnects to another instance', async () => {
    const mortal = await service.startAnother();
    const query = 'subscription { notificationCreated { id } }';
    const asked = ask('POST', query, await tokenOf('olga'), mortal.url);
    await eventually(async () => (await connectionsOf('olga')) === 1, 'the stream');
    await mortal.close();
    const { text } = await asked;
    const [, data = ''] = /event: next\ndata: (.*)\n\n$/.exec(text) ?? [];
    expect(JSON.parse(data)).toMatchObject({ errors: [{ extensions: { error_code: 'unavailable' } }] });
    expect(text).not.toContain('complete');
  });

  it('need a bearer token in a header, which another site cannot send', async () => {
    const { status, text } = await ask('GET', 'subscription { notificationCreated { id } }');
    expect(status).toBe(401);
    expect(text).toContain('unauthenticated');
  });
});

describe('the HTTP callback protocol', () => {
  const ask = async (
    subscription: unknown,
    sub = 'gina',
    { url = service.url, lifetime = '1h', query = 'subscription { notificationCreated { id } }' } = {},
  ) => {
    const token = await service.token({ tenant_id: TENANT, sub }, lifetime);
    const response = await fetch(`${url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify({ query, extensions: { subscription } }),
    });
    return { status: response.status, headers: response.headers, body: (await response.json()) as object };
  };
  const callback = (changes: object = {}) => ({
    callbackUrl: `${gateway.url}/callback/1`,
    subscriptionId: 'one',
    verifier: 'secret',
    heartbeatIntervalMs: 0,
    ...changes,
  });

  it.each([
    ['another host', 'http://127.0.0.2:1/callback/1'],
    ['a host with the same prefix', () => `${gateway.url}.evil.test/callback/1`],
    ['user info before another host', () => `${gateway.url.replace('http://', 'http://gateway@')}/callback/1`],
    ['another path', () => `${gateway.url}/admin`],
    ['a path with the same prefix', () => `${gateway.url}/callbacks`],
    ['a path with ..', () => `${gateway.url}/callback/../admin`],
    ['a path with encoded ..', () => `${gateway.url}/callback/..%2Fadmin`],
    ['no URL', 'callback'],
  ])('refuses URLs that the operator has not allowed: %s', async (_what, url) => {
    const before = gateway.requests.length;
    const { status, body } = await ask(callback({ callbackUrl: typeof url === 'string' ? url : url() }));
    expect(status).toBe(400);
    expect(body).toMatchObject({ errors: [{ extensions: { error_code: 'validation_failed' } }] });
    expect(gateway.requests.length).toBe(before);
  });

  it('checks the callback with the verifier first, and does not subscribe when the gateway does not know it', async () => {
    gateway.onRequest = (_request, response) => response.writeHead(404).end();
    const before = gateway.requests.length;
    expect(await ask(callback())).toMatchObject({ status: 400 });
    const [check] = gateway.requests.slice(before);
    expect(JSON.parse(check?.body ?? '')).toEqual({
      kind: 'subscription',
      action: 'check',
      id: 'one',
      verifier: 'secret',
    });
    expect(check?.headers['subscription-protocol']).toBe('callback/1.0');
  });

  it('confirms the start in the protocol, sends heartbeats, and stops when the gateway does not know the subscription', async () => {
    let isKnown = true;
    gateway.onRequest = (_request, response) => response.writeHead(isKnown ? 204 : 404).end();
    const { status, headers, body } = await ask(callback({ heartbeatIntervalMs: 1_000 }), 'hanna');
    expect({ status, body }).toEqual({ status: 200, body: { data: null } });
    expect(headers.get('subscription-protocol')).toBe('callback/1.0');
    const before = gateway.requests.length;
    await eventually(() => gateway.requests.length >= before + 2, 'two heartbeats');
    isKnown = false;
    const clients = async () =>
      (await service.core.clients.list(TENANT, {})).rows.filter((row) => row.userId === 'hanna');
    await eventually(async () => (await clients()).length === 0, 'the end of the subscription');
  });

  it('is disabled when the operator allows no URL', async () => {
    const closed = await service.startAnother({ CALLBACK_URLS: '' });
    const before = gateway.requests.length;
    const { status, body } = await ask(callback(), 'karl', { url: closed.url });
    expect(status).toBe(400);
    expect(JSON.stringify(body)).toContain('CALLBACK_URLS');
    expect(gateway.requests.length).toBe(before);
  });

  interface Said {
    id: string;
    action: string;
    verifier: string;
    payload?: { data: { notificationCreated: { title: string } } };
    errors?: { extensions: object }[];
  }
  const said = (id: string): Said[] =>
    gateway.requests.map(({ body }) => JSON.parse(body) as Said).filter((message) => message.id === id);

  it('sends heartbeats at the requested rate, one at a time, for any response time', async () => {
    gateway.onRequest = ({ body }, response) => {
      const { id } = JSON.parse(body) as Said;
      // Confirms the subscription and then stops responding.
      if (id !== 'hanging' || said(id).length === 1) response.writeHead(204).end();
    };
    const begin = (subscriptionId: string, heartbeatIntervalMs: number) =>
      ask(callback({ subscriptionId, heartbeatIntervalMs }), subscriptionId);
    // Longer than the maximum of a timer, which would then fire immediately.
    for (const answer of [await begin('never', 2 ** 40), await begin('hanging', 1_000), await begin('lively', 1_000)]) {
      expect(answer).toMatchObject({ status: 200 });
    }
    await eventually(() => said('lively').length >= 5, 'some heartbeats');
    expect(said('never').map(({ action }) => action)).toEqual(['check']);
    expect(said('hanging').map(({ action }) => action)).toEqual(['check', 'check']);
    gateway.onRequest = (_request, response) => response.writeHead(404).end();
    await eventually(async () => (await connectionsOf('lively')) === 0, 'the end of the connection');
  });

  it('accepts no new events after the token has expired, while earlier ones are still being sent', async () => {
    const held: (() => void)[] = [];
    gateway.onRequest = ({ body }, response) => {
      const answer = (): void => void response.writeHead(204).end();
      if ((JSON.parse(body) as Said).action === 'next') held.push(answer);
      else answer();
    };
    const producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
    const post = (title: string) => postActivities(service, producer, TENANT, ['lars'], [title]);
    const asked = { query: 'subscription { notificationCreated { title } }', lifetime: '4s' };
    expect(await ask(callback({ subscriptionId: 'slow' }), 'lars', asked)).toMatchObject({ status: 200 });
    await post('before');
    await eventually(() => held.length === 1, 'the notification before');
    await eventually(async () => !(await isFed('lars')), 'the end of the feed');
    const watch = overSse(() => service.url)(
      WatchInboxDocument,
      {},
      await service.token({ tenant_id: TENANT, sub: 'lars' }),
    );
    await eventually(() => isFed('lars'), 'a new feed');
    await post('after');
    await eventually(() => watch.results.length === 1, 'the notification after');
    watch.stop();
    held[0]?.();
    await eventually(async () => (await connectionsOf('lars')) === 0, 'the end of the connection');
    expect(said('slow')).toMatchObject([
      { action: 'check' },
      { action: 'next', verifier: 'secret', payload: { data: { notificationCreated: { title: 'before' } } } },
      { action: 'complete', verifier: 'secret', errors: [{ extensions: { error_code: 'token_expired' } }] },
    ]);
  });

  it('releases everything when the token expires before the subscription has started', async () => {
    gateway.onRequest = ({ body }, response) => {
      const { action, id } = JSON.parse(body) as Said;
      if (action === 'complete' || id !== 'late') return response.writeHead(204).end();
      // The gateway confirms the subscription after the token has expired.
      void eventually(() => said('late').some((message) => message.action === 'complete'), 'the end of the token').then(
        () => response.writeHead(204).end(),
      );
    };
    await ask(callback({ subscriptionId: 'late' }), 'mona', { lifetime: '2s' });
    await eventually(async () => (await connectionsOf('mona')) === 0, 'the end of the connection');
    await eventually(async () => !(await isFed('mona')), 'the end of the feed');
    expect(said('late').map(({ action }) => action)).toEqual(['check', 'complete']);
  });

  it('sends `complete` with an error to the gateway on shutdown', async () => {
    gateway.onRequest = (_request, response) => response.writeHead(204).end();
    const mortal = await service.startAnother();
    const { status } = await ask(callback({ subscriptionId: 'mortal' }), 'nils', { url: mortal.url });
    expect(status).toBe(200);
    await mortal.close();
    expect(said('mortal').at(-1)).toMatchObject({
      action: 'complete',
      errors: [{ extensions: { error_code: 'unavailable' } }],
    });
  });
});
