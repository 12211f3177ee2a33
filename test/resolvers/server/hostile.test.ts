import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { print } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type DevIdentity, devIdentity } from '../../../src/identity/dev-keys.ts';
import {
  InboxDocument,
  MarkNotificationReadDocument,
  NotificationDocument,
  UnreadCountDocument,
  WatchInboxDocument,
} from '../../generated/operations.ts';
import { type ChildService, startChild } from '../../support/child.ts';
import { connectionOutcome, liveClient, query, run } from '../../support/client.ts';
import { eventually } from '../../support/eventually.ts';
import { testDatabase } from '../../support/service.ts';
import { sql } from '../../support/sql.ts';
import { postActivities, settled } from '../../support/graph-seed.ts';
import { ask } from '../../support/graphql-socket.ts';

const TENANT = 'tenant-hostile';

interface Body {
  data?: unknown;
  errors?: { message: string; extensions: Record<string, unknown> }[];
}

/** Runs the service in a separate process, to observe crashes and its log. */
describe('the GraphQL endpoint', () => {
  let database: Awaited<ReturnType<typeof testDatabase>>;
  let dataPath: string;
  let identity: DevIdentity;
  let service: ChildService;
  let token: string;
  let notificationId: string;

  beforeAll(async () => {
    database = await testDatabase();
    dataPath = await mkdtemp(join(tmpdir(), 'notification-hostile-'));
    identity = await devIdentity(dataPath);
    service = await startChild({ ENVIRONMENT: 'dev', DATABASE_URL: database.url, DATA_PATH: dataPath });
    token = await identity.issueToken({ sub: 'anna', tenant_id: TENANT });
    const producer = await identity.issueToken({ sub: 'p', tenant_id: TENANT, permissions: ['notif.ingest'] });
    await settled(database.url, await postActivities(service, producer, TENANT, ['anna'], ['hello']));
    const { notifications } = await query(service.url, token, InboxDocument, {});
    notificationId = notifications.edges[0]?.node.id as string;
  });
  afterAll(async () => {
    await service.kill('SIGKILL');
    await database.drop();
    await rm(dataPath, { recursive: true, force: true });
  });

  /** Sends any HTTP request. */
  const send = async (init: RequestInit, search = ''): Promise<{ status: number; headers: Headers; body: Body }> => {
    const response = await fetch(`${service.url}/graphql${search}`, {
      ...init,
      headers: { authorization: `Bearer ${token}`, ...(init.headers as Record<string, string>) },
    });
    return { status: response.status, headers: response.headers, body: (await response.json()) as Body };
  };
  const post = (body: string, headers: Record<string, string> = {}) =>
    send({ method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });
  const search = (text: string, variables: object = {}): string =>
    `?${new URLSearchParams({ query: text, variables: JSON.stringify(variables) })}`;
  const unread = async (): Promise<number> =>
    (await query(service.url, token, UnreadCountDocument)).unreadNotificationCount;
  const refused = (code = 'validation_failed') => ({
    errors: [{ message: expect.any(String), extensions: { error_code: code, trace_id: expect.any(String) } }],
  });
  /** Returns the log line about a failed request. */
  const loggedError = (traceId: unknown) =>
    eventually(
      () => service.lines.find((line) => line['trace_id'] === traceId && line['level'] === 'error'),
      'the log line',
    );

  describe('on an internal error', () => {
    const whileBroken = async (work: () => Promise<void>): Promise<void> => {
      await sql(database.url, 'alter table notification rename to notification_gone');
      try {
        await work();
      } finally {
        await sql(database.url, 'alter table notification_gone rename to notification');
      }
    };
    const masked = {
      message: expect.stringContaining('trace_id'),
      extensions: { code: 'INTERNAL_SERVER_ERROR', error_code: 'internal', trace_id: expect.any(String) },
    };

    it('returns only a trace_id over HTTP, with which the log shows the cause', () =>
      whileBroken(async () => {
        const { status, headers, data, errors } = await run(service.url, token, NotificationDocument, {
          id: notificationId,
        });
        expect({ status, data }).toEqual({ status: 500, data: { notification: null } });
        expect(errors).toMatchObject([masked]);
        expect(JSON.stringify(errors)).not.toMatch(/relation|does not exist|select|stack/i);
        expect(headers.get('x-trace-id')).toBe(errors[0]?.extensions?.['trace_id']);
        const line = await loggedError(errors[0]?.extensions?.['trace_id']);
        expect(JSON.stringify(line)).toContain('relation \\"notification\\" does not exist');
      }));

    it('returns only a trace_id over WebSocket', () =>
      whileBroken(async () => {
        const live = liveClient(service.url, { token });
        const { data, errors } = await live.subscribe(NotificationDocument, { id: notificationId }).next();
        expect(data).toEqual({ notification: null });
        expect(errors).toMatchObject([masked]);
        expect(JSON.stringify(errors)).not.toMatch(/relation|does not exist|select|stack/i);
        await loggedError(errors?.[0]?.extensions?.['trace_id']);
        await live.close();
      }));

    it('returns the partial result with status 200', () =>
      whileBroken(async () => {
        const text = `{ unreadNotificationCount notification(id: "${notificationId}") { id } }`;
        const { status, body } = await post(JSON.stringify({ query: text }));
        expect(status).toBe(200);
        expect(body).toMatchObject({ data: { unreadNotificationCount: 1, notification: null }, errors: [masked] });
      }));

    it('does not report an invalid value from a resolver as an error of the caller', async () => {
      await sql(database.url, `update notification set recipient_scope = 'planet'`);
      const { status, errors } = await run(service.url, token, NotificationDocument, { id: notificationId });
      await sql(database.url, `update notification set recipient_scope = 'users'`);
      expect(status).toBe(500);
      expect(errors).toMatchObject([masked]);
      expect(JSON.stringify(errors)).not.toContain('planet');
    });
  });

  describe('prevents cross-site request forgery', () => {
    const mutation = print(MarkNotificationReadDocument);

    it.each([
      ['a bare GET', {}],
      ['a GET with text/plain', { 'content-type': 'text/plain' }],
    ])('%s', async (_what, headers) => {
      const { status, body } = await send({ method: 'GET', headers }, search('{ unreadNotificationCount }'));
      expect(status).toBe(400);
      expect(body).toMatchObject(refused());
      expect(body.data).toBeUndefined();
    });

    it('by a GET with a mutation, with any headers', async () => {
      for (const headers of [{}, { 'apollo-require-preflight': '1' }, { 'content-type': 'application/json' }]) {
        const { status, body } = await send({ method: 'GET', headers }, search(mutation, { id: notificationId }));
        expect(status, JSON.stringify(headers)).toBe(Object.keys(headers).length === 0 ? 400 : 405);
        expect(body).toMatchObject(refused());
      }
      expect(await unread()).toBe(1);
    });

    it.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'text/json'])(
      'by a POST with content type %s',
      async (type) => {
        const text = JSON.stringify({ query: mutation, variables: { id: notificationId } });
        const { status, body } = await post(text, { 'content-type': type });
        expect(status).toBe(415);
        expect(body).toMatchObject(refused('unsupported_media_type'));
        expect(await unread()).toBe(1);
      },
    );
  });

  describe('accepts', () => {
    it('a GET with a query and a header that requires a CORS preflight', async () => {
      const headers = { 'apollo-require-preflight': '1' };
      const { status, body } = await send({ method: 'GET', headers }, search('{ unreadNotificationCount }'));
      expect({ status, body }).toEqual({ status: 200, body: { data: { unreadNotificationCount: 1 } } });
    });

    it.each(['application/json', 'application/graphql-response+json'])('requests for %s', async (accept) => {
      const { status, headers, body } = await post('{"query":"{ unreadNotificationCount }"}', { accept });
      expect(status).toBe(200);
      expect(headers.get('content-type')).toBe(`${accept}; charset=utf-8`);
      expect(body).toEqual({ data: { unreadNotificationCount: 1 } });
      const wrong = await post('{"query":"{ nothing }"}', { accept });
      expect(wrong.status).toBe(400);
      expect(wrong.headers.get('content-type')).toBe(`${accept}; charset=utf-8`);
      expect(wrong.body).toMatchObject(refused());
    });

    it.each([
      [
        'application/graphql-response+json; charset=utf-8, application/json; charset=utf-8',
        'application/graphql-response+json; charset=utf-8',
      ],
      ['application/json;charset="UTF-8"', 'application/json; charset=utf-8'],
      ['application/json;callbackSpec=1.0; charset=utf-8', 'application/json; charset=utf-8'],
      ['text/event-stream; charset=utf-8', 'text/event-stream; charset=utf-8'],
    ])('requests with a charset: %s', async (accept, type) => {
      const response = await fetch(`${service.url}/graphql`, {
        method: 'POST',
        headers: { accept, 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: '{"query":"{ unreadNotificationCount }"}',
      });
      expect({ status: response.status, type: response.headers.get('content-type') }).toEqual({ status: 200, type });
      expect(await response.text()).toContain('{"data":{"unreadNotificationCount":1}}');
    });

    it('no other media types', async () => {
      const { status, body } = await post('{"query":"{ unreadNotificationCount }"}', { accept: 'text/html' });
      expect(status).toBe(406);
      expect(body).toMatchObject(refused());
    });

    it('subscriptions only over the transports that the error names', async () => {
      const { status, body } = await post(JSON.stringify({ query: print(WatchInboxDocument) }));
      expect(status).toBe(400);
      expect(body).toMatchObject(refused());
      expect(body.errors?.[0]?.message).toContain('WebSocket');
    });
  });

  describe('refuses', () => {
    it.each([
      ['invalid JSON', '{'],
      ['an empty body', ''],
      ['the body null', 'null'],
      ['a string as body', '"{ __typename }"'],
      ['a batch', '[{"query":"{ unreadNotificationCount }"},{"query":"{ unreadNotificationCount }"}]'],
      ['a body without a query', '{}'],
      ['an empty query', '{"query":""}'],
      ['a query that is not a string', '{"query":{"a":1}}'],
      ['variables that are not an object', '{"query":"{ unreadNotificationCount }","variables":"{}"}'],
      ['an unknown operation name', '{"query":"query A { unreadNotificationCount }","operationName":"B"}'],
      ['a syntax error', '{"query":"{ unreadNotificationCount"}'],
      ['an unknown hash of a persisted query', '{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"00"}}}'],
    ])('%s', async (_what, text) => {
      const { status, body } = await post(text);
      expect(status).toBe(400);
      expect(body).toMatchObject(refused());
      expect(body.data).toBeUndefined();
    });

    it('a body of more than 1 MB, and accepts a slightly smaller one', async () => {
      const padded = (bytes: number): string => {
        const [start, end] = ['{"query":"{ unreadNotificationCount }","variables":{"x":"', '"}}'] as const;
        return `${start}${'x'.repeat(bytes - start.length - end.length)}${end}`;
      };
      const { status, body } = await post(padded(1024 * 1024 + 1));
      expect(status).toBe(413);
      expect(body).toMatchObject(refused('payload_too_large'));
      expect((await post(padded(1024 * 1024))).status).toBe(200);
    });

    it('a document of 100 000 tokens, over HTTP and WebSocket', async () => {
      const text = `{ ${'__typename '.repeat(100_000 - 2)}}`.slice(0, 1_000_000);
      const live = liveClient(service.url, { token });
      for (const document of [text.slice(0, 900_000), `{ ${'a '.repeat(100_000)}}`]) {
        const { status, body } = await post(JSON.stringify({ query: document }));
        expect(status).toBe(400);
        expect(body).toMatchObject(refused());
        expect(body.errors?.[0]?.message).toContain('token');
        expect((await ask(live.client, document)).refusal).toMatchObject(refused().errors);
      }
      await live.close();
    });

    it('a WebSocket message of more than 1 MB', async () => {
      const { socket } = await connectionOutcome(service.url, { token });
      socket.send('x'.repeat(1024 * 1024 + 1));
      const [{ code }] = (await once(socket, 'close')) as [{ code: number }];
      expect(code).toBe(1009);
    });
  });

  describe('survives', () => {
    /** Sends the bytes of a WebSocket upgrade to any path. */
    const upgrade = async (target: string): Promise<{ socket: Socket; answer: string }> => {
      const { hostname, port } = new URL(service.url);
      const socket = connect(Number(port), hostname);
      socket.write(
        `GET ${target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n' +
          'Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n',
      );
      const [answer] = (await once(socket, 'data')) as [Buffer];
      return { socket, answer: answer.toString() };
    };

    it.each(['//', '/', '/graphql/x', '/%', '//[', 'http://[/', '*', '/stream/', '/toString'])(
      'an upgrade of the unknown path %s',
      async (target) => {
        const { socket, answer } = await upgrade(target);
        expect(answer).toMatch(/^HTTP\/1\.1 40[04] /);
        socket.destroy();
        expect(await unread()).toBe(1);
      },
    );

    it('clients that disconnect before the response', async () => {
      const { hostname, port } = new URL(service.url);
      await Promise.all(
        Array.from({ length: 50 }, async (_unused, index) => {
          const socket = connect(Number(port), hostname);
          await once(socket, 'connect');
          socket.write(`GET ${index % 2 === 0 ? '/graphql' : '/x'} HTTP/1.1\r\nUpgrade: websocket\r\n`);
          socket.write('Connection: Upgrade\r\nHost: x\r\n\r\n');
          socket.resetAndDestroy();
        }),
      );
      expect(await unread()).toBe(1);
      expect(service.process.exitCode).toBeNull();
    });

    it('a client that never answers, and shuts down in time', async () => {
      const { socket, answer } = await upgrade('/graphql?x=1');
      expect(answer).toMatch(/^HTTP\/1\.1 101 /);
      socket.on('error', () => {});
      expect(await service.kill('SIGTERM')).toEqual({ code: 0, signal: null });
      expect(service.lines.filter((line) => line['level'] === 'fatal')).toEqual([]);
      socket.destroy();
    });
  });
});
