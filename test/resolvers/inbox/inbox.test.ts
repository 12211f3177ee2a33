import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  InboxBackwardsDocument,
  type InboxBackwardsQuery,
  InboxDocument,
  type InboxQueryVariables,
  MarkNotificationReadDocument,
  NotificationDocument,
  UnreadCountDocument,
} from '../../generated/operations.ts';
import { query, run } from '../../support/client.ts';
import { startTestService, type TestService } from '../../support/service.ts';
import { allPages, FOREIGN_CURSORS, nodesOf } from '../../support/graphql-pages.ts';
import { postActivities, settled } from '../../support/graph-seed.ts';

const TENANT = 'tenant-pages';
const NUMBERS = Array.from({ length: 25 }, (_unused, index) => `n-${index + 1}`);

describe('the inbox', () => {
  let service: TestService;
  let producer: string;

  beforeAll(async () => {
    service = await startTestService();
    producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
    await post('anna', NUMBERS);
    await post('anna-of-others', ['somebody else']);
  });
  afterAll(() => service.close());

  const tokenOf = (sub: string): Promise<string> => service.token({ tenant_id: TENANT, sub });
  const post = async (user: string, titles: string[], changes?: (index: number) => Record<string, unknown>) => {
    const ids = await postActivities(service, producer, TENANT, [user], titles, changes);
    await settled(service.databaseUrl, ids);
  };
  const list = async (sub: string, variables: InboxQueryVariables = {}) =>
    (await query(service.url, await tokenOf(sub), InboxDocument, variables)).notifications;
  const titles = async (sub: string, variables: InboxQueryVariables = {}) =>
    (await list(sub, variables)).edges.map(({ node }) => node.title);
  const unread = async (sub: string): Promise<number> =>
    (await query(service.url, await tokenOf(sub), UnreadCountDocument)).unreadNotificationCount;
  const markRead = async (sub: string, id: string) =>
    run(service.url, await tokenOf(sub), MarkNotificationReadDocument, { id });

  it('lists notifications newest first, 20 on a page by default', async () => {
    const page = await list('anna');
    expect(page.edges.map(({ node }) => node.title)).toEqual(NUMBERS.toReversed().slice(0, 20));
    expect(page.pageInfo).toEqual({
      hasNextPage: true,
      hasPreviousPage: false,
      startCursor: page.edges[0]?.cursor,
      endCursor: page.edges[19]?.cursor,
    });
    for (const { cursor, node } of page.edges) expect(cursor).toBe(node.cursor);
  });

  it.each([1, 7, 24, 25, 26, 100])('is returned completely when read forward in pages of %i', async (first) => {
    const pages = await allPages((after) => list('anna', { first, after }));
    expect(nodesOf(pages).map(({ title }) => title)).toEqual(NUMBERS.toReversed());
    expect(pages).toHaveLength(Math.ceil(25 / first));
    expect(pages.map(({ pageInfo }) => pageInfo.hasNextPage)).toEqual(pages.map((page) => page !== pages.at(-1)));
    expect(pages.map(({ pageInfo }) => pageInfo.hasPreviousPage)).toEqual(pages.map((page) => page !== pages[0]));
  });

  it.each([1, 7, 25, 100])('is returned completely when read backward in pages of %i', async (last) => {
    const token = await tokenOf('anna');
    const page = async (before: string | null): Promise<InboxBackwardsQuery['notifications']> =>
      (await query(service.url, token, InboxBackwardsDocument, { last, before })).notifications;
    let before: string | null = null;
    const read: (string | null)[] = [];
    const ends: { hasPreviousPage: boolean; hasNextPage: boolean }[] = [];
    do {
      const notifications = await page(before);
      read.unshift(...notifications.edges.map(({ node }) => node.title));
      const { hasPreviousPage, hasNextPage, startCursor } = notifications.pageInfo;
      ends.push({ hasPreviousPage, hasNextPage });
      before = hasPreviousPage ? startCursor : null;
    } while (before !== null);
    expect(read).toEqual(NUMBERS.toReversed());
    expect(ends.map(({ hasPreviousPage }) => hasPreviousPage)).toEqual(ends.map((end) => end !== ends.at(-1)));
    expect(ends.map(({ hasNextPage }) => hasNextPage)).toEqual(ends.map((end) => end !== ends[0]));
  });

  it('returns a page without edges and cursors when it is empty', async () => {
    expect(await list('nobody')).toEqual({
      edges: [],
      liveCursor: expect.any(String),
      pageInfo: { hasNextPage: false, hasPreviousPage: false, startCursor: null, endCursor: null },
    });
    expect(await unread('nobody')).toBe(0);
  });

  it.each([
    ['first', { first: 0 }],
    ['first', { first: -1 }],
    ['first', { first: 101 }],
  ])('refuses a page of a size that is not from 1 to 100: %s %o', async (path, variables) => {
    const { status, data, errors } = await run(service.url, await tokenOf('anna'), InboxDocument, variables);
    expect(status).toBe(400);
    expect(data).toBeNull();
    expect(errors).toMatchObject([
      { extensions: { code: 'BAD_USER_INPUT', error_code: 'validation_failed', fields: [{ path }] } },
    ]);
  });

  it('refuses an invalid page size when paging backward', async () => {
    for (const last of [0, -1, 101]) {
      const { status, errors } = await run(service.url, await tokenOf('anna'), InboxBackwardsDocument, { last });
      expect(status).toBe(400);
      expect(errors).toMatchObject([{ extensions: { error_code: 'validation_failed', fields: [{ path: 'last' }] } }]);
    }
  });

  it.each(FOREIGN_CURSORS)('refuses the foreign cursor %s', async (cursor) => {
    const token = await tokenOf('anna');
    const answers = {
      after: await run(service.url, token, InboxDocument, { after: cursor }),
      before: await run(service.url, token, InboxBackwardsDocument, { last: 5, before: cursor }),
    };
    for (const [path, { status, errors }] of Object.entries(answers)) {
      expect(status).toBe(400);
      expect(errors).toMatchObject([{ extensions: { error_code: 'validation_failed', fields: [{ path }] } }]);
    }
  });

  it("returns opaque cursors that give no access to another user's inbox", async () => {
    const [edge] = (await list('anna', { first: 1 })).edges;
    expect(edge?.cursor).toMatch(/^[\w-]+$/);
    expect(await titles('anna-of-others', { after: edge?.cursor ?? '' })).toEqual(['somebody else']);
  });

  it('returns the same next page when new notifications arrive between two requests', async () => {
    await post('busy', ['one', 'two', 'three']);
    const { pageInfo } = await list('busy', { first: 2 });
    await post('busy', ['four']);
    expect(await titles('busy', { first: 2, after: pageInfo.endCursor ?? '' })).toEqual(['one']);
  });

  it('filters by type, category and read state in combination', async () => {
    const kinds = [
      { type: 'a', category: 'x' },
      { type: 'a', category: 'y' },
      { type: 'b', category: 'x' },
      { type: 'b' },
    ];
    await post('filter', ['ax', 'ay', 'bx', 'b'], (index) => kinds[index] ?? {});
    const shown = async (filter: InboxQueryVariables['filter']) => (await titles('filter', { filter })).toSorted();
    expect(await shown({ types: ['a'] })).toEqual(['ax', 'ay']);
    expect(await shown({ types: ['a', 'b'] })).toEqual(['ax', 'ay', 'b', 'bx']);
    expect(await shown({ types: [] })).toEqual([]);
    expect(await shown({ categories: ['x'] })).toEqual(['ax', 'bx']);
    expect(await shown({ types: ['a'], categories: ['x'] })).toEqual(['ax']);

    const ax = (await list('filter', { filter: { types: ['a'], categories: ['x'] } })).edges[0]?.node.id as string;
    await markRead('filter', ax);
    expect(await shown({ isRead: true })).toEqual(['ax']);
    expect(await shown({ isRead: false })).toEqual(['ay', 'b', 'bx']);
    expect(await shown({ isRead: true, types: ['b'] })).toEqual([]);
    expect(await shown({ isArchived: true })).toEqual([]);
    expect(await shown({ isRead: null, types: null })).toEqual(['ax', 'ay', 'b', 'bx']);
  });

  it('pages through the notifications that match a filter', async () => {
    await post('filtered-pages', NUMBERS, (index) => ({ type: index % 2 === 0 ? 'even' : 'odd' }));
    const pages = await allPages((after) => list('filtered-pages', { first: 5, after, filter: { types: ['odd'] } }));
    expect(nodesOf(pages).map(({ title }) => title)).toEqual(
      NUMBERS.filter((_title, index) => index % 2 === 1).toReversed(),
    );
  });

  it('updates the unread count immediately', async () => {
    await post('counter', ['a', 'b', 'c']);
    expect(await unread('counter')).toBe(3);
    const ids = (await list('counter')).edges.map(({ node }) => node.id);
    for (const [index, id] of ids.entries()) {
      const { data } = await markRead('counter', id);
      expect(data?.markNotificationRead.readAt).toEqual(expect.any(String));
      expect(await unread('counter')).toBe(2 - index);
    }
    await post('counter', ['d']);
    expect(await unread('counter')).toBe(1);
  });

  it('changes neither the read time nor the count when a notification is marked as read again', async () => {
    await post('again', ['a', 'b']);
    const id = (await list('again')).edges[0]?.node.id as string;
    const first = await markRead('again', id);
    const second = await markRead('again', id);
    expect(second).toMatchObject({ status: 200, errors: [] });
    expect(second.data).toEqual(first.data);
    expect(await unread('again')).toBe(1);
    const { notification } = await query(service.url, await tokenOf('again'), NotificationDocument, { id });
    expect(notification).toEqual(first.data?.markNotificationRead);
  });

  it('counts correctly when one notification is marked as read 20 times concurrently', async () => {
    await post('rush', ['a', 'b']);
    const id = (await list('rush')).edges[0]?.node.id as string;
    const answers = await Promise.all(Array.from({ length: 20 }, () => markRead('rush', id)));
    expect(new Set(answers.map(({ data }) => data?.markNotificationRead.readAt)).size).toBe(1);
    expect(await unread('rush')).toBe(1);
  });

  it('counts correctly when notifications arrive while others are marked as read', async () => {
    await post('both', NUMBERS);
    const ids = (await list('both', { first: 100 })).edges.map(({ node }) => node.id);
    await Promise.all([...ids.map((id) => markRead('both', id)), post('both', NUMBERS.slice(0, 10))]);
    expect(await unread('both')).toBe(10);
    expect((await list('both', { first: 100, filter: { isRead: false } })).edges).toHaveLength(10);
  });

  it('returns null for an id that is not valid', async () => {
    const token = await tokenOf('anna');
    for (const id of ['', 'x', '1', '00000000-0000-0000-0000-000000000000', "' or 1=1 --"]) {
      expect(await query(service.url, token, NotificationDocument, { id })).toEqual({ notification: null });
      const { status, errors } = await markRead('anna', id);
      expect(status).toBe(404);
      expect(errors).toMatchObject([{ extensions: { error_code: 'not_found' } }]);
    }
  });
});
