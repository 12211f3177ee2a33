import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { print } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { loadTrustedOperations, printManifest, type TrustedOperation } from '../../../resolvers/server/persisted.ts';
import type { Service } from '../../../src/service.ts';
import { projectRoot } from '../../../src/project-root.ts';
import { InboxDocument, UnreadCountDocument, WatchInboxDocument } from '../../generated/operations.ts';
import { liveClient } from '../../support/client.ts';
import { startTestService, type TestService } from '../../support/service.ts';
import { ask } from '../../support/graphql-socket.ts';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const persisted = (sha256Hash: unknown, version: unknown = 1) => ({ persistedQuery: { version, sha256Hash } });

describe('persisted operations', () => {
  let service: TestService;
  let trusting: Service;
  let token: string;
  let operations: TrustedOperation[];
  beforeAll(async () => {
    service = await startTestService();
    trusting = await service.startAnother({ TRUSTED_OPERATIONS_ONLY: 'true' });
    token = await service.token({ tenant_id: 'tenant-persisted', sub: 'anna', permissions: ['notif.read.schema'] });
    operations = await loadTrustedOperations();
  });
  afterAll(() => service.close());

  const post = async (body: Record<string, unknown>, to: Pick<Service, 'url'> = service) => {
    const response = await fetch(`${to.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
    });
    return { status: response.status, ...((await response.json()) as { data?: unknown; errors?: unknown[] }) };
  };
  const refused = (code: string, more: object = {}) => ({ errors: [{ extensions: { error_code: code }, ...more }] });

  describe('requested by hash', () => {
    const text = '{ unreadNotificationCount }';

    it('are sent once and then found by their hash, by POST and GET', async () => {
      const unknown = await post({ extensions: persisted(sha256(text)) });
      expect(unknown.status).toBe(400);
      expect(unknown.errors).toMatchObject([
        { message: 'PersistedQueryNotFound', extensions: { code: 'PERSISTED_QUERY_NOT_FOUND' } },
      ]);
      const answer = { status: 200, data: { unreadNotificationCount: 0 } };
      expect(await post({ query: text, extensions: persisted(sha256(text)) })).toEqual(answer);
      expect(await post({ extensions: persisted(sha256(text)) })).toEqual(answer);
      expect(await post({ documentId: `sha256:${sha256(text)}` })).toEqual(answer);
      const search = new URLSearchParams({ extensions: JSON.stringify(persisted(sha256(text))) });
      const headers = { authorization: `Bearer ${token}`, 'apollo-require-preflight': '1' };
      const response = await fetch(`${service.url}/graphql?${search}`, { headers });
      expect(await response.json()).toEqual({ data: answer.data });
    });

    it('are refused when the text has another hash', async () => {
      const wrong = sha256('{ notificationPreferences { category } }');
      expect(await post({ query: text, extensions: persisted(wrong) })).toMatchObject({
        status: 400,
        ...refused('validation_failed'),
      });
      expect(await post({ extensions: persisted(wrong) })).toMatchObject({ status: 400 });
    });

    it.each([
      ['a string', 'x'],
      ['another version', { version: 2, sha256Hash: 'a' }],
      ['no hash', { version: 1 }],
      ['a hash that is not a string', { version: 1, sha256Hash: ['a'] }],
    ])('are refused for an extension with %s', async (_what, persistedQuery) => {
      expect(await post({ extensions: { persistedQuery } })).toMatchObject({
        status: 400,
        ...refused('validation_failed'),
      });
    });
  });

  describe('with TRUSTED_OPERATIONS_ONLY', () => {
    it('are published with their hashes (update with `npm run schema`)', async () => {
      const committed = await readFile(join(projectRoot, 'schema', 'persisted-operations.json'), 'utf8');
      expect(committed === printManifest(operations)).toBe(true);
      for (const { id, body } of operations) expect(sha256(body)).toBe(id);
    });

    it('run by their text in any layout, by their hash, and over WebSocket', async () => {
      const answer = { status: 200, data: { unreadNotificationCount: 0 } };
      const { id } = operations.find(({ name }) => name === 'UnreadCount') as TrustedOperation;
      const text = print(UnreadCountDocument);
      expect(await post({ query: text }, trusting)).toEqual(answer);
      expect(await post({ query: text.replaceAll(/\s+/g, ' , ') }, trusting)).toEqual(answer);
      expect(await post({ extensions: persisted(id) }, trusting)).toEqual(answer);
      expect(await post({ documentId: `sha256:${id}` }, trusting)).toEqual(answer);
      expect(await post({ query: print(InboxDocument), variables: { first: 5 } }, trusting)).toMatchObject({
        status: 200,
        data: { notifications: { edges: [] } },
      });

      const live = liveClient(trusting.url, { token });
      expect((await ask(live.client, text)).result?.data).toEqual(answer.data);
      const watched = live.subscribe(WatchInboxDocument);
      await eventuallySubscribed(live);
      expect(watched.pending).toEqual([]);
      await live.close();
    });

    /** Both messages are answered in order, so a refusal of the first would have arrived before. */
    const eventuallySubscribed = (live: ReturnType<typeof liveClient>) => ask(live.client, print(UnreadCountDocument));

    it.each([
      ['another operation', '{ unreadNotificationCount }'],
      ['the name of a trusted operation', 'query UnreadCount { notificationPreferences { category } }'],
      ['an additional field', 'query UnreadCount { unreadNotificationCount __typename }'],
      ['introspection', '{ __schema { queryType { name } } }'],
      ['the SDL', '{ _service { sdl } }'],
      ['a subscription', 'subscription { notificationCreated { id } }'],
      [
        'a trusted operation next to another one',
        `${print(UnreadCountDocument)} query Other { unreadNotificationCount }`,
        'Other',
      ],
    ])('are the only operations that run: %s is refused', async (_what, text, operationName?: string) => {
      const expected = refused('operation_not_trusted');
      expect(await post({ query: text, operationName }, trusting)).toMatchObject({ status: 403, ...expected });
      const live = liveClient(trusting.url, { token });
      expect((await ask(live.client, text, undefined, operationName)).refusal).toMatchObject(expected.errors);
      await live.close();
    });
  });
});
