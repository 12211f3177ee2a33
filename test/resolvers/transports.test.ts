import type { GraphQLFormattedError } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  ArchiveNotificationDocument,
  InboxDocument,
  MarkNotificationReadDocument,
  WatchChangesDocument,
  WatchDeliveriesDocument,
  WatchInboxDocument,
} from '../generated/operations.ts';
import { query } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type HttpPeer, startHttpPeer } from '../support/http-peer.ts';
import { postEvent, startTestService, type TestService } from '../support/service.ts';
import { type HiveGateway, startHiveGateway } from '../support/transports/hive-gateway.ts';
import { overCallback, overSse, overWebSocket, type Subscribe } from '../support/transports/transports.ts';
import { postActivities } from './seed.ts';

const TENANT = 'tenant-transports';

let service: TestService;
let gateway: HttpPeer;
let hive: Record<'ws' | 'sse', HiveGateway>;
beforeAll(async () => {
  gateway = await startHttpPeer();
  service = await startTestService({ CALLBACK_URLS: `${gateway.url}/callback` });
  const [ws, sse] = await Promise.all([startHiveGateway(service.url, 'ws'), startHiveGateway(service.url, 'sse')]);
  hive = { ws, sse };
});
afterAll(async () => {
  await Promise.all([hive.ws.close(), hive.sse.close()]);
  await service.close();
  await gateway.close();
});

interface Transport {
  name: string;
  subscribe: Subscribe;
  /** Errors come as the subgraph made them. */
  isDirect: boolean;
  /** The gateway keeps trying for half a minute before it tells its client. */
  isPatient?: boolean;
}

const TRANSPORTS: Transport[] = [
  { name: 'graphql-transport-ws', subscribe: overWebSocket(() => service.url), isDirect: true },
  { name: 'server-sent events', subscribe: overSse(() => service.url), isDirect: true },
  {
    name: 'the HTTP callback protocol',
    subscribe: overCallback(
      () => service.url,
      () => gateway,
    ),
    isDirect: true,
  },
  {
    name: 'a Hive Gateway that comes over WebSocket',
    subscribe: overSse(() => hive.ws.url),
    isDirect: false,
    isPatient: true,
  },
  {
    name: 'a Hive Gateway that comes over server-sent events',
    subscribe: overSse(() => hive.sse.url),
    isDirect: false,
  },
];

describe.each(TRANSPORTS)('a subscription over $name', ({ name, subscribe, isDirect, isPatient }) => {
  const user = (role: string): string => `${role} over ${name}`;
  const tokenOf = (sub: string, permissions: string[] = [], tenant_id = TENANT): Promise<string> =>
    service.token({ tenant_id, sub, permissions });
  const post = async (users: string[], titles: string[], tenant = TENANT): Promise<string[]> =>
    postActivities(service, await tokenOf('producer', ['notif.ingest'], tenant), tenant, users, titles);
  /** A gateway may have words of its own for it. */
  const codesOf = (errors: readonly GraphQLFormattedError[]): unknown[] =>
    isDirect
      ? errors.map(({ extensions }) => extensions?.['error_code'])
      : ['unauthenticated', 'permission_denied', 'validation_failed', 'token_revoked'];
  /** How many connections of a user the service knows of. */
  const connectionsOf = async (userId: string): Promise<number> =>
    (await service.core.clients.list(TENANT, { first: 100 })).rows.filter((row) => row.userId === userId).length;
  const connected = (userId: string, count: number) =>
    eventually(async () => (await connectionsOf(userId)) === count, `${count} connections of ${userId}`);

  it('gives what comes in, to whom it is for', async () => {
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

  it('replays after a cursor and goes on live, every change once and in order', async () => {
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

    const watch = subscribe(WatchChangesDocument, { after: Buffer.from('in:0').toString('base64url') }, token);
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
    await eventually(() => latest().size === 30 && latest().get('n1') === 'archived', 'every change');
    const cursors = watch.results.map(({ data }) => data?.inboxChanged.cursor as string);
    const positions = cursors.map((cursor) => Number(Buffer.from(cursor, 'base64url').toString().slice(3)));
    expect(positions).toEqual([...new Set(positions)].toSorted((a, b) => a - b));
    expect(Object.fromEntries(latest())).toEqual({
      ...Object.fromEntries(titles.map((title) => [title, 'created'])),
      n0: 'read',
      n1: 'archived',
    });
    expect(watch.results.at(-1)?.data?.inboxChanged.unreadCount).toBe(28);
    watch.stop();
    await connected(ben, 0);
  });

  it.each([
    { who: 'nobody', permissions: undefined, document: WatchInboxDocument, code: 'unauthenticated' },
    {
      who: 'somebody without the permission',
      permissions: [],
      document: WatchDeliveriesDocument,
      code: 'permission_denied',
    },
  ])('is refused to $who', async ({ permissions, document, code }) => {
    const cleo = user('cleo');
    const token = permissions && (await tokenOf(cleo, permissions));
    const watch = subscribe(document as typeof WatchInboxDocument, {}, token);
    const { errors } = await eventually(() => watch.end, 'the refusal');
    expect(watch.results).toEqual([]);
    expect(codesOf(errors)).toContain(code);
    await connected(cleo, 0);
  });

  it('is refused with variables that do not fit', async () => {
    const watch = subscribe(WatchInboxDocument, { after: 'nonsense' }, await tokenOf(user('dora')));
    const { errors } = await eventually(() => watch.end, 'the refusal');
    expect(codesOf(errors)).toContain('validation_failed');
    watch.stop();
    await connected(user('dora'), 0);
  });

  it('ends with the token, and gives nothing more', async () => {
    const emil = user('emil');
    const watch = subscribe(WatchInboxDocument, {}, await tokenOf(emil));
    await connected(emil, 1);
    await post([emil], ['before']);
    await eventually(() => watch.results.length === 1, 'the notification before');
    const control = await tokenOf('admin', ['notif.ingest', 'notif.write.config']);
    const { status } = await postEvent(service, control, 'token.revoked', {
      tenant_id: TENANT,
      user_id: emil,
      at: new Date(Date.now() + 1_000).toISOString(),
    });
    expect(status).toBe(202);
    await eventually(() => watch.end ?? isPatient, 'the end of the subscription');
    await connected(emil, 0);
    await post([emil], ['after']);
    const fred = user('fred');
    const control2 = subscribe(WatchInboxDocument, {}, await tokenOf(fred));
    await connected(fred, 1);
    await post([fred], ['after that']);
    await eventually(() => control2.results.length === 1, 'the notification of somebody else');
    expect(watch.results.map(({ data }) => data?.notificationCreated.title)).toEqual(['before']);
    expect(codesOf(watch.end?.errors ?? [])).toContain('token_revoked');
    watch.stop();
    control2.stop();
    await connected(fred, 0);
  });
});

describe('the HTTP callback protocol', () => {
  const ask = async (subscription: unknown, sub = 'gina') => {
    const token = await service.token({ tenant_id: TENANT, sub });
    const response = await fetch(`${service.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify({ query: 'subscription { notificationCreated { id } }', extensions: { subscription } }),
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
    ['a host that only begins alike', () => `${gateway.url}.evil.test/callback/1`],
    ['a login before another host', () => `${gateway.url.replace('http://', 'http://gateway@')}/callback/1`],
    ['another path', () => `${gateway.url}/admin`],
    ['a path that only begins alike', () => `${gateway.url}/callbacks`],
    ['a way up', () => `${gateway.url}/callback/../admin`],
    ['no URL', 'callback'],
  ])('calls nobody but whom the operator allowed: not %s', async (_what, url) => {
    const before = gateway.requests.length;
    const { status, body } = await ask(callback({ callbackUrl: typeof url === 'string' ? url : url() }));
    expect(status).toBe(400);
    expect(body).toMatchObject({ errors: [{ extensions: { error_code: 'validation_failed' } }] });
    expect(gateway.requests.length).toBe(before);
  });

  it('asks the gateway first, with its verifier, and subscribes nobody that it does not know', async () => {
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

  it('says in the protocol that it has begun, keeps saying that it lives, and stops where nobody knows of it', async () => {
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
    await eventually(async () => (await clients()).length === 0, 'the end');
  });
});
