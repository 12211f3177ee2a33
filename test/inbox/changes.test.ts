import { print } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  ArchiveNotificationDocument,
  InboxDocument,
  type InboxQuery,
  MarkAllNotificationsReadDocument,
  MarkNotificationReadDocument,
  MarkNotificationUnreadDocument,
  UnreadCountDocument,
  WatchChangesDocument,
  type WatchChangesSubscription,
} from '../generated/operations.ts';
import { type LiveClient, liveClient, query, run } from '../support/client.ts';
import { startTestService, type TestService } from '../support/service.ts';
import { sql } from '../support/sql.ts';
import { postActivities, settled } from '../support/graph-seed.ts';

const TENANT = 'tenant-changes';
type Node = InboxQuery['notifications']['edges'][number]['node'];
type Change = WatchChangesSubscription['inboxChanged'];

const MUTATIONS: [string, string][] = [
  ['markNotificationRead', print(MarkNotificationReadDocument)],
  ['markNotificationUnread', print(MarkNotificationUnreadDocument)],
  ['archiveNotification', print(ArchiveNotificationDocument)],
];

describe('an inbox', () => {
  let service: TestService;
  let producer: string;
  let people = 0;
  const open: LiveClient[] = [];

  beforeAll(async () => {
    service = await startTestService();
    producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
  });
  afterAll(async () => {
    for (const live of open) await live.close();
    await service.close();
  });

  /** Creates a user with these notifications, oldest first. */
  async function personWith(...titles: string[]) {
    const user = `person-${(people += 1)}`;
    const token = await service.token({ tenant_id: TENANT, sub: user });
    for (const title of titles) {
      await settled(service.databaseUrl, await postActivities(service, producer, TENANT, [user], [title]));
    }
    const list = async (filter = {}): Promise<Node[]> =>
      (await query(service.url, token, InboxDocument, { first: 100, filter })).notifications.edges
        .map(({ node }) => node)
        .toReversed();
    const unread = async (): Promise<number> =>
      (await query(service.url, token, UnreadCountDocument)).unreadNotificationCount;
    const watch = async (after: string) => {
      const live = liveClient(service.url, { token });
      open.push(live);
      const changes = live.subscribe(WatchChangesDocument, { after });
      return async (count: number): Promise<Change[]> => {
        const taken: Change[] = [];
        while (taken.length < count) taken.push((await changes.next()).data?.inboxChanged as Change);
        return taken;
      };
    };
    const ids = (await list()).map(({ id }) => id);
    return { user, token, ids, list, unread, watch };
  }
  const cursorNow = async (token: string): Promise<string> =>
    (await query(service.url, token, InboxDocument, {})).notifications.liveCursor;
  const titled = (nodes: Node[]) => nodes.map(({ title }) => title);

  it('counts a notification once when it is marked as read or unread repeatedly', async () => {
    const { token, ids, list, unread } = await personWith('one', 'two', 'three');
    expect(await unread()).toBe(3);
    for (const id of [ids[0], ids[0], ids[1]] as string[]) {
      const { markNotificationRead } = await query(service.url, token, MarkNotificationReadDocument, { id });
      expect(markNotificationRead).toMatchObject({ id, readAt: expect.any(String) });
    }
    expect(await unread()).toBe(1);
    expect(titled(await list({ isRead: true }))).toEqual(['one', 'two']);
    for (const id of [ids[1], ids[1], ids[2]] as string[]) {
      const { markNotificationUnread } = await query(service.url, token, MarkNotificationUnreadDocument, { id });
      expect(markNotificationUnread).toMatchObject({ id, readAt: null });
    }
    expect(await unread()).toBe(2);
    expect(titled(await list({ isRead: false }))).toEqual(['two', 'three']);
  });

  it('marks all notifications as read, or those up to a time, and returns how many were unread', async () => {
    const { token, ids, list, unread } = await personWith('one', 'two', 'three', 'four');
    await query(service.url, token, MarkNotificationReadDocument, { id: ids[0] as string });
    const before = (await list())[2]?.createdAt as string;
    const upTo = await query(service.url, token, MarkAllNotificationsReadDocument, { before });
    expect(upTo).toEqual({ markAllNotificationsRead: 1 });
    expect(titled(await list({ isRead: false }))).toEqual(['three', 'four']);
    const rest = await query(service.url, token, MarkAllNotificationsReadDocument, {});
    expect(rest).toEqual({ markAllNotificationsRead: 2 });
    const again = await query(service.url, token, MarkAllNotificationsReadDocument, { before: null });
    expect(again).toEqual({ markAllNotificationsRead: 0 });
    expect(await unread()).toBe(0);
  });

  it('neither counts an archived notification nor lists it, except with the filter isArchived', async () => {
    const { token, ids, list, unread } = await personWith('one', 'two', 'three');
    for (const id of [ids[0], ids[0], ids[1]] as string[]) {
      const { archiveNotification } = await query(service.url, token, ArchiveNotificationDocument, { id });
      expect(archiveNotification).toMatchObject({ id, archivedAt: expect.any(String), readAt: null });
    }
    expect(await unread()).toBe(1);
    expect(titled(await list())).toEqual(['three']);
    expect(titled(await list({ isArchived: true }))).toEqual(['one', 'two']);
    // Archived notifications do not count as unread, whether they were read or not.
    await query(service.url, token, MarkNotificationReadDocument, { id: ids[0] as string });
    expect(await unread()).toBe(1);
    await query(service.url, token, MarkNotificationUnreadDocument, { id: ids[0] as string });
    expect(await unread()).toBe(1);
    const all = await query(service.url, token, MarkAllNotificationsReadDocument, {});
    expect(all).toEqual({ markAllNotificationsRead: 1 });
  });

  it.each(MUTATIONS)(
    'answers 404 to %s for the notification of another user and for an invalid id',
    async (_name, document) => {
      const { ids, unread } = await personWith('mine');
      const stranger = await service.token({ tenant_id: TENANT, sub: 'stranger' });
      const foreigner = await service.token({ tenant_id: 'tenant-foreign', sub: 'stranger' });
      for (const [token, id] of [
        [stranger, ids[0]],
        [foreigner, ids[0]],
        [stranger, 'nonsense'],
      ] as [string, string][]) {
        const { status, errors } = await run(service.url, token, document, { id });
        expect(status).toBe(404);
        expect(errors).toMatchObject([{ extensions: { error_code: 'not_found' } }]);
      }
      expect(await unread()).toBe(1);
    },
  );

  it('delivers each change in order with the unread count, and after a pause only the newest state of each notification', async () => {
    const { token, ids, watch } = await personWith('one', 'two', 'three');
    const after = await cursorNow(token);
    const take = await watch(after);
    const [first, second, third] = ids as [string, string, string];
    await query(service.url, token, MarkNotificationReadDocument, { id: first });
    expect(await take(1)).toMatchObject([{ kind: 'READ', unreadCount: 2, notification: { id: first } }]);
    await query(service.url, token, MarkNotificationUnreadDocument, { id: first });
    expect(await take(1)).toMatchObject([{ kind: 'UNREAD', unreadCount: 3, notification: { id: first } }]);
    await query(service.url, token, ArchiveNotificationDocument, { id: second });
    expect(await take(1)).toMatchObject([{ kind: 'ARCHIVED', unreadCount: 2, notification: { id: second } }]);
    await query(service.url, token, MarkAllNotificationsReadDocument, {});
    const read = await take(2);
    expect(read.map(({ kind, notification }) => [kind, notification.id])).toEqual([
      ['READ', first],
      ['READ', third],
    ]);
    expect(read.at(-1)?.unreadCount).toBe(0);

    const late = await (await watch(after))(3);
    expect(late.map(({ kind, notification }) => [kind, notification.id])).toEqual([
      ['ARCHIVED', second],
      ['READ', first],
      ['READ', third],
    ]);
    expect(late.map(({ unreadCount }) => unreadCount)).toEqual([0, 0, 0]);
  });

  it('returns a liveCursor even when it is empty, after which a subscription misses no change', async () => {
    const { user, token, watch } = await personWith();
    const after = await cursorNow(token);
    await settled(service.databaseUrl, await postActivities(service, producer, TENANT, [user], ['between']));
    expect(await (await watch(after))(1)).toMatchObject([
      { kind: 'CREATED', unreadCount: 1, notification: { title: 'between' } },
    ]);
  });

  it('keeps a correct unread count under concurrent changes of all kinds', async () => {
    const { user, token, ids } = await personWith('1', '2', '3', '4', '5', '6');
    await Promise.all([
      ...ids.flatMap((id) => MUTATIONS.map(([, document]) => run(service.url, token, document, { id }))),
      ...Array.from({ length: 4 }, () => run(service.url, token, MarkAllNotificationsReadDocument, {})),
      ...Array.from({ length: 4 }, (_unused, index) =>
        postActivities(service, producer, TENANT, [user], [`more-${index}`]),
      ),
    ]);
    const [row] = await sql<{ is: number; should: number; gaps: number }>(
      service.databaseUrl,
      `select (select unread_count from inbox where user_id = $1) as is,
         count(*) filter (where read_at is null and archived_at is null)::int as should,
         (select last_seq from inbox where user_id = $1)::int - max(seq)::int as gaps
       from notification where user_id = $1`,
      [user],
    );
    expect(row).toEqual({ is: row?.should, should: row?.should, gaps: 0 });
  });
});
