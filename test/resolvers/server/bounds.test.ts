import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';

import { topics } from '../../../src/live/bus.ts';
import { newId } from '../../../src/ids.ts';
import type { Service } from '../../../src/service.ts';
import { run } from '../../support/client.ts';
import { type ChildService, startChild } from '../../support/child.ts';
import { eventually } from '../../support/eventually.ts';
import { postEvent, startTestService, type TestService } from '../../support/service.ts';
import { connectSocket, openSocket, type SocketClient, type SocketClientOptions } from '../../support/socket-client.ts';
import { sql } from '../../support/sql.ts';
import { tcpProxy } from '../../support/tcp-proxy.ts';
import { resumingInbox } from '../subscriptions/resuming-inbox.ts';
import { postActivities, settled } from '../../support/graph-seed.ts';

const TENANT = 'tenant-bounds';
const CREATED = 'subscription ($after: String) { notificationCreated(after: $after) { title } }';
const COUNT = '{ unreadNotificationCount }';
/** Position before the first change. */
const START = Buffer.from('in:0').toString('base64url');

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
/** Memory of this process, in bytes. */
function heldBytes(): number {
  collectGarbage();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
}

describe('a connection', () => {
  let service: TestService;
  let redis: Redis;
  let producer: string;
  let people = 0;
  const open: { close(): unknown }[] = [];
  const children: ChildService[] = [];

  beforeAll(async () => {
    redis = new Redis(inject('redisUrl'));
    service = await startTestService({
      REDIS_URL: inject('redisUrl'),
      LIVE_HEARTBEAT_MS: '500',
      // A client that does not read does not answer pings either. It must stay connected, however long the test takes.
      LIVE_PING_MS: '600000',
    });
    producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
  });
  afterEach(async () => {
    for (const one of open.splice(0).toReversed()) await one.close();
    await Promise.all(children.splice(0).map((child) => child.kill('SIGKILL')));
  });
  afterAll(async () => {
    redis.disconnect();
    await service.close();
  });

  const newUser = (): string => `person-${(people += 1)}`;
  const tokenOf = (sub: string, ...permissions: string[]): Promise<string> =>
    service.token({ tenant_id: TENANT, sub, permissions });
  const kept = <Client extends SocketClient>(client: Client): Client => {
    open.push({ close: () => client.ws.terminate() });
    return client;
  };
  const connect = async (to: Pick<Service, 'url'>, sub: string, options?: SocketClientOptions) =>
    kept(await connectSocket(to.url, await tokenOf(sub), options));
  const bare = async (to: Pick<Service, 'url'>) => kept(await openSocket(to.url));
  /** Starts another instance with its own limits. */
  const bounded = async (env: Record<string, string>, logTo?: { write(line: string): void }): Promise<Service> => {
    const other = await service.startAnother(env, logTo);
    open.push(other);
    return other;
  };
  const post = async (user: string, ...titles: string[]): Promise<void> => {
    await settled(service.databaseUrl, await postActivities(service, producer, TENANT, [user], titles));
  };
  const answered = (client: SocketClient, id: string): Promise<unknown> =>
    eventually(() => client.received.some((message) => message.id === id), `an answer to ${id}`);
  const refusalOf = (client: SocketClient, id: string): unknown =>
    client.received.find((message) => message.id === id && message.type === 'error')?.payload;
  const listed = async (): Promise<{ userId: string; transport: string; instanceId: string }[]> => {
    const token = await tokenOf('admin', 'notif.read.client');
    const { data } = await run<{ connectedClients: { edges: { node: never }[] } }, object>(
      service.url,
      token,
      '{ connectedClients { edges { node { userId transport instanceId } } } }',
    );
    return data?.connectedClients.edges.map(({ node }) => node) ?? [];
  };
  const isListed = async (user: string): Promise<boolean> => (await listed()).some(({ userId }) => userId === user);
  /** Locks a table, so that all reads and writes of it wait. */
  const hold = async (table: string): Promise<{ isWaitedFor(count: number): Promise<boolean>; release(): unknown }> => {
    const client = new pg.Client({ connectionString: service.databaseUrl });
    await client.connect();
    await client.query(`begin; lock table ${table} in access exclusive mode`);
    const release = (): Promise<void> => client.end();
    open.push({ close: release });
    return {
      isWaitedFor: async (count) => {
        const waiting = await sql(
          service.databaseUrl,
          'select 1 from pg_locks where relation = $1::regclass and not granted',
          [table],
        );
        return waiting.length >= count;
      },
      release,
    };
  };

  describe('of a client that does not read', () => {
    const EVENTS = 100_000;
    const PORTION = 10_000;
    const BODY = 400;

    it('uses no memory under 100 000 events, does not delay others, and converges when it reads again', async () => {
      const user = newUser();
      const query = 'subscription ($after: String) { inboxChanged(after: $after) { notification { title body } } }';
      const stalled = await connect(service, user);
      const titles: number[] = [];
      // Received messages are not kept, because the memory of this process is measured.
      const numberIn = (data: Buffer): number => Number(/"title":"(\d+)"/.exec(data.toString())?.[1]);
      stalled.ws.removeAllListeners('message').on('message', (data: Buffer) => titles.push(numberIn(data)));
      stalled.subscribe('1', query, { after: START });
      await post(user, '1');
      await eventually(() => titles.length === 1, 'the first event');
      stalled.ws.pause();

      const healthy = await connect(service, user);
      let healthyCount = 0;
      healthy.ws.removeAllListeners('message').on('message', () => (healthyCount += 1));
      const before = heldBytes();
      healthy.subscribe('1', query, { after: START });
      let most = 0;
      for (let last = 1; last < EVENTS; last += PORTION) {
        const count = Math.min(PORTION, EVENTS - last);
        await sql(
          service.databaseUrl,
          `with head as (
             update inbox set last_seq = last_seq + $3, unread_count = unread_count + $3
             where tenant_id = $1 and user_id = $2
           )
           insert into notification (id, tenant_id, user_id, created_seq, seq, type, title, body, recipient_scope, log_id)
           select gen_random_uuid(), $1, $2, $4 + n, $4 + n, 'flood', ($4 + n)::text, repeat('x', ${BODY}), 'users',
             gen_random_uuid()
           from generate_series(1, $3::int) n`,
          [TENANT, user, count, last],
        );
        await redis.publish(topics.inbox(TENANT, user), 'null');
        await eventually(() => healthyCount === last + count, 'the events for the reading client');
        most = Math.max(most, heldBytes() - before);
      }
      // Their text alone has 40 MB, without objects and frames.
      expect(most).toBeLessThan(16 * 1024 * 1024);

      const { unread } = (
        await sql<{ unread: number }>(
          service.databaseUrl,
          'select unread_count as unread from inbox where user_id = $1',
          [user],
        )
      )[0] as { unread: number };
      expect(unread).toBe(EVENTS);
      expect(titles).toEqual([1]);
      stalled.ws.resume();
      await eventually(() => titles.length >= EVENTS, 'the events for the stalled client', 300_000);
      expect(titles).toEqual(Array.from({ length: EVENTS }, (_unused, index) => index + 1));
      expect(healthyCount).toBe(EVENTS);
    }, 600_000);

    it('has one buffer for all of its subscriptions', async () => {
      const topic = `flood-${newId()}`;
      const user = newUser();
      const stalled = await connect(service, user);
      const ids = Array.from({ length: 60 }, (_unused, id) => String(id));
      // Different documents, so that they share nothing.
      for (const id of ids) stalled.subscribe(id, `subscription { a${id}: topicMessage(topic: "${topic}") { data } }`);
      const healthy = await connect(service, user);
      healthy.subscribe('1', `subscription { topicMessage(topic: "${topic}") { data } }`);
      const emit = (data: string): Promise<unknown> =>
        redis.publish(topics.signals, JSON.stringify({ topic, data, destination: { tenant: TENANT, user } }));
      const hasEnded = (client: SocketClient, id: string, mark: string): boolean =>
        JSON.stringify(client.results(id).at(-1) ?? null).includes(mark);
      await eventually(async () => {
        await emit('ready');
        return [healthy, stalled].every((client) => client.results('1').length > 0);
      }, 'the subscriptions');
      await emit('begin');
      await eventually(() => ids.every((id) => hasEnded(stalled, id, 'begin')), 'every subscription to start');
      stalled.ws.pause();
      const before = heldBytes();
      for (let sent = 0; sent < 400; sent += 1) await emit('x'.repeat(10_000));
      await emit('end');
      await eventually(() => hasEnded(healthy, '1', 'end'), 'the end for the reading client');
      let most = heldBytes() - before;
      // When it reads a little, all of its subscriptions find space in the buffer.
      for (let sips = 0; sips < 5; sips += 1) {
        const goal = stalled.received.length + 100;
        stalled.ws.on('message', () => stalled.received.length >= goal && stalled.ws.pause());
        stalled.ws.resume();
        await eventually(() => stalled.ws.isPaused, 'the client to pause');
        most = Math.max(most, heldBytes() - before);
      }
      // The buffer of the topic, both network buffers and the send buffer. A batch has 2 MB for each subscription.
      expect(most).toBeLessThan(48 * 1024 * 1024);
      stalled.ws.removeAllListeners('message').on('message', (data: Buffer) => {
        stalled.received.push(JSON.parse(data.toString()) as never);
      });
      stalled.ws.resume();
      await eventually(() => ids.every((id) => hasEnded(stalled, id, 'end')), 'the end for the stalled client');
    });

    // One buffer is smaller than the buffer of the stream, the other is never full.
    it.each(['16384', '200000000'])(
      'over server-sent events does not affect others, with a buffer of %s bytes',
      async (bufferBytes) => {
        const child = await startChild({ ...service.env, LOG_LEVEL: 'info', LIVE_BUFFER_BYTES: bufferBytes });
        children.push(child);
        const topic = `flood-${newId()}`;
        const query = `subscription { topicMessage(topic: "${topic}") { data } }`;
        const [user, reader] = [newUser(), newUser()];
        const healthy = await connect(child, reader);
        healthy.subscribe('1', query);
        const emit = (data: string): Promise<unknown> =>
          redis.publish(topics.signals, JSON.stringify({ topic, data, destination: { tenant: TENANT } }));
        const heardBy = (mark: string): Promise<unknown> =>
          eventually(async () => {
            await emit(mark);
            return JSON.stringify(healthy.results('1').at(-1) ?? null).includes(mark);
          }, `${mark} for the reading client`);

        // Long enough to read it and to stop reading.
        const token = await service.token({ tenant_id: TENANT, sub: user }, '3s');
        const headers = {
          accept: 'text/event-stream',
          'content-type': 'application/json',
          authorization: `Bearer ${token}`,
        };
        const asking = request(`${child.url}/graphql`, { method: 'POST', headers });
        asking.on('error', () => {}).end(JSON.stringify({ query }));
        const [stalled] = (await once(asking, 'response')) as [IncomingMessage];
        open.push({ close: () => stalled.destroy() });
        stalled.on('error', () => {});
        let begun = '';
        stalled.on('data', (chunk: Buffer) => (begun += chunk.toString()));
        await eventually(async () => {
          await emit('begin');
          return begun.includes('begin');
        }, 'the first event');
        await eventually(() => isListed(user), 'the connection in connectedClients');
        stalled.pause();
        for (let sent = 0; sent < 1_500; sent += 1) await emit('x'.repeat(10_000));
        await heardBy('flooded');
        await eventually(async () => {
          const users = new Set((await listed()).map(({ userId }) => userId));
          return users.has(reader) && !users.has(user);
        }, 'the end of the stream after the token has expired');
        await heardBy('after');
        expect(await child.kill('SIGTERM')).toEqual({ code: 0, signal: null });
      },
    );

    it('is closed when the client keeps sending requests without reading the replies', async () => {
      const small = await bounded({ LIVE_BUFFER_BYTES: '16384' });
      const client = await connect(small, newUser());
      client.ws.pause();
      const payload = { text: 'x'.repeat(100_000) };
      for (let pings = 0; pings < 300; pings += 1) client.say({ type: 'ping', payload });
      // More data than all buffers can hold, so only a reset can get through.
      await eventually(() => client.ws.bufferedAmount === 0, 'everything to be sent or dropped');
      client.ws.resume();
      expect(await client.closed).toMatchObject({ code: 1006 });
    });
  });

  describe('is closed', () => {
    it('with 4408 when the client does not send connection_init', async () => {
      const impatient = await bounded({ LIVE_INIT_TIMEOUT_MS: '100' });
      const [silent, known] = [await bare(impatient), await connect(impatient, newUser())];
      expect(await silent.closed).toMatchObject({ code: 4408 });
      known.subscribe('1', COUNT);
      await answered(known, '1');
    });

    it('when a ping is not answered, and not otherwise', async () => {
      const impatient = await bounded({ LIVE_PING_MS: '100' });
      const deaf = await connect(impatient, newUser(), { autoPong: false });
      const polite = await connect(impatient, newUser());
      expect(await deaf.closed).toMatchObject({ code: 1006 });
      polite.subscribe('1', COUNT);
      await answered(polite, '1');
      expect(polite.ws.readyState).toBe(polite.ws.OPEN);
    });

    it('with 1009 after a message of more than 1 MB', async () => {
      const client = await connect(service, newUser());
      client.say({ type: 'ping', payload: { text: 'x'.repeat(1024 * 1024) } });
      expect(await client.closed).toMatchObject({ code: 1009 });
    });

    it('with 4403 when the token expires', async () => {
      const token = await service.token({ tenant_id: TENANT, sub: newUser() }, '1s');
      const client = kept(await connectSocket(service.url, token));
      expect(await client.closed).toEqual({ code: 4403, reason: 'token_expired' });
    });

    const revoke = async (user: string): Promise<void> => {
      const event = { tenant_id: TENANT, user_id: user, at: new Date().toISOString() };
      expect((await postEvent(service, producer, 'token.revoked', event)).status).toBe(202);
    };

    it('with 4403 when the token is revoked, on every instance, and a client that resumes with a new token misses nothing', async () => {
      const neighbour = await bounded({});
      const user = newUser();
      await post(user, 'begin');
      const inboxes = [service, neighbour].map(({ url }) =>
        resumingInbox({ url: () => url, token: () => tokenOf(user), after: START }),
      );
      open.push(...inboxes);
      await eventually(() => inboxes.every(({ seen }) => seen.length === 1), 'both inboxes');
      const posting = post(user, 'meanwhile-1', 'meanwhile-2');
      await revoke(user);
      await posting;
      await post(user, 'after');
      await eventually(() => inboxes.every(({ seen }) => seen.length === 4), 'the remaining notifications');
      for (const { seen, closeCodes } of inboxes) {
        expect(closeCodes[0]).toBe(4403);
        expect(new Set(seen)).toEqual(new Set(['begin', 'meanwhile-1', 'meanwhile-2', 'after']));
      }
    });

    it('for a client that ignores the close: its later messages have no effect', async () => {
      const user = newUser();
      await post(user, 'unread');
      const [deaf, witness] = [await connect(service, user), await connect(service, user)];
      // Does not answer the close frame, so that the connection stays half open.
      deaf.ws.pause();
      await revoke(user);
      await witness.closed;
      deaf.subscribe('1', 'mutation { markAllNotificationsRead }');
      deaf.ws.resume();
      expect(await deaf.closed).toMatchObject({ code: 4403 });
      await post(user, 'later');
      const [inbox] = await sql(service.databaseUrl, 'select unread_count from inbox where user_id = $1', [user]);
      expect(inbox).toEqual({ unread_count: 2 });
    });

    it('with 1001 on shutdown, also next to connections with protocol or network errors', async () => {
      const mortal = await service.startAnother({ LIVE_DRAIN_MS: '300' });
      const clients = await Promise.all(Array.from({ length: 12 }, async () => connect(mortal, newUser())));
      for (const client of clients) client.subscribe('1', CREATED, { after: START });
      const spoilers = await Promise.all(
        (['garbage', 'reset'] as const).map(async (how) => {
          const { port } = new URL(mortal.url);
          const upgrade = request({ port, path: '/graphql', headers: UPGRADE }).end();
          const [, socket] = (await once(upgrade, 'upgrade')) as [unknown, Socket];
          socket.on('error', () => {});
          // The first close event counts. An unmasked frame is a protocol error.
          socket.once('data', () => (how === 'reset' ? socket.resetAndDestroy() : socket.write(UNMASKED)));
          return { closed: once(socket, 'close') };
        }),
      );
      await mortal.close();
      expect(await Promise.all(clients.map(({ closed }) => closed))).toEqual(
        clients.map(() => ({ code: 1001, reason: 'going away' })),
      );
      await Promise.all(spoilers.map(({ closed }) => closed));
    });
  });

  describe('limits concurrent operations', () => {
    const refused = [{ extensions: { error_code: 'rate_limited' } }];

    it('and accepts more after some have ended', async () => {
      const narrow = await bounded({ LIVE_MAX_OPERATIONS: '3' });
      const client = await connect(narrow, newUser());
      for (const id of ['1', '2', '3', '4']) client.subscribe(id, CREATED, { after: START });
      await answered(client, '4');
      expect(refusalOf(client, '4')).toMatchObject(refused);
      client.say({ id: '2', type: 'complete' });
      client.subscribe('5', COUNT);
      await answered(client, '5');
      expect(client.results('5')).toMatchObject([{ data: { unreadNotificationCount: 0 } }]);
      // Operations that were refused, failed or could not be parsed do not count.
      for (const text of [
        '{',
        '{ nothing }',
        'subscription { notificationCreated(after: "x") { id } }',
        COUNT,
        COUNT,
      ]) {
        const id = newId();
        client.subscribe(id, text);
        await answered(client, id);
        expect(JSON.stringify(refusalOf(client, id) ?? null)).not.toContain('rate_limited');
        await eventually(() => client.received.at(-1)?.id === id, 'the end of the operation');
      }
    });

    it('including cancelled ones that are still running', async () => {
      const narrow = await bounded({ LIVE_MAX_OPERATIONS: '3' });
      const client = await connect(narrow, newUser());
      const held = await hold('inbox');
      for (const id of ['1', '2', '3']) {
        client.subscribe(id, id === '1' ? COUNT : 'subscription { inboxChanged { unreadCount } }');
        client.say({ id, type: 'complete' });
      }
      client.subscribe('4', COUNT);
      await answered(client, '4');
      expect(refusalOf(client, '4')).toMatchObject(refused);
      await held.release();
      await eventually(async () => {
        const id = newId();
        client.subscribe(id, COUNT);
        await answered(client, id);
        return client.results(id).length > 0;
      }, 'a free slot');
    });

    it('and the length of documents of subscriptions', async () => {
      const client = await connect(service, newUser());
      const comment = `# ${'x'.repeat(33_000)}\n`;
      client.subscribe('1', comment + CREATED);
      client.subscribe('2', `${comment}{ a: __typename }`);
      client.subscribe('3', CREATED, { after: 'x'.repeat(33_000) });
      client.subscribe('x'.repeat(257), COUNT);
      for (const id of ['1', '2', '3', 'x'.repeat(257)]) await answered(client, id);
      for (const id of ['1', '3']) {
        expect(refusalOf(client, id)).toMatchObject([{ extensions: { error_code: 'query_too_complex' } }]);
      }
      expect(refusalOf(client, 'x'.repeat(257))).toMatchObject([{ extensions: { error_code: 'validation_failed' } }]);
      expect(client.results('2')).toMatchObject([{ data: { a: 'Query' } }]);
    });

    it('to one per id, even while the first one is starting', async () => {
      const user = newUser();
      const client = await connect(service, user);
      const held = await hold('inbox');
      // Without a cursor it first reads the position of the inbox.
      client.subscribe('1', 'subscription { inboxChanged { unreadCount } }');
      await eventually(() => held.isWaitedFor(1), 'the first statement');
      client.say({ id: '1', type: 'complete' });
      client.subscribe('1', CREATED, { after: START });
      expect(await client.closed).toMatchObject({ code: 4409 });
      await held.release();
      await eventually(
        async () => Number((await redis.pubsub('NUMSUB', topics.inbox(TENANT, user)))[1]) === 0,
        'the end of both operations',
      );
    });
  });

  describe('is accepted', () => {
    it('until the limit of its user, its tenant or the process is reached', async () => {
      const narrow = await bounded({
        LIVE_MAX_SOCKETS: '4',
        LIVE_MAX_SOCKETS_PER_TENANT: '3',
        LIVE_MAX_SOCKETS_PER_USER: '2',
      });
      const tooMany = { code: 1013, reason: 'rate_limited' };
      const tokens = { anna: await tokenOf('anna'), binh: await tokenOf('binh'), chi: await tokenOf('chi') };
      const stranger = await service.token({ tenant_id: 'tenant-elsewhere', sub: 'anna' });
      const enter = async (token: string) => kept(await connectSocket(narrow.url, token));
      const first = await enter(tokens.anna);
      expect(first.end).toBeUndefined();
      expect((await enter(tokens.anna)).end).toBeUndefined();
      expect((await enter(tokens.anna)).end).toEqual(tooMany);
      expect((await enter(tokens.binh)).end).toBeUndefined();
      expect((await enter(tokens.chi)).end).toEqual(tooMany);
      expect((await enter(stranger)).end).toBeUndefined();
      await expect(openSocket(narrow.url)).rejects.toThrow('503');
      first.ws.close();
      await first.closed;
      await eventually(async () => !(await enter(tokens.anna)).end, 'the free slot of a closed connection');
      await expect(openSocket(narrow.url)).rejects.toThrow('503');
    });
  });

  describe('is listed in connectedClients', () => {
    it('on every instance, and removed with its process, even after a kill', async () => {
      const child = await startChild({ ...service.env, LOG_LEVEL: 'info' });
      children.push(child);
      const [here, there] = [newUser(), newUser()];
      const [mine] = await Promise.all([connect(service, here), connect(child, there)]);
      await eventually(async () => (await isListed(here)) && (await isListed(there)), 'both connections');
      const instances = (await listed()).filter(({ userId }) => userId === here || userId === there);
      expect(new Set(instances.map(({ instanceId }) => instanceId)).size).toBe(2);
      expect(instances.map(({ transport }) => transport)).toEqual(['WEBSOCKET', 'WEBSOCKET']);
      await child.kill('SIGKILL');
      await eventually(async () => !(await isListed(there)), 'the end of the killed instance');
      await eventually(() => isListed(here), 'the connection of the living instance');
      mine.ws.close();
      await eventually(async () => !(await isListed(here)), 'the end of the connection');
    });

    it('only while it is open, even if it was closed during an outage of the database', async () => {
      const target = new URL(service.databaseUrl);
      const proxy = await tcpProxy(target.hostname, Number(target.port || 5432));
      open.push({ close: () => proxy.shut() });
      target.port = String(proxy.port);
      const lines: string[] = [];
      const logTo = { write: (line: string) => void lines.push(line) };
      const cutOff = await bounded({ DATABASE_URL: target.toString(), LOG_LEVEL: 'warn' }, logTo);
      const [leaving, staying] = [newUser(), newUser()];
      const client = await connect(cutOff, leaving);
      await connect(cutOff, staying);
      await eventually(async () => (await isListed(leaving)) && (await isListed(staying)), 'both connections');
      await proxy.shut();
      client.ws.close();
      await client.closed;
      await eventually(
        () => lines.some((line) => line.includes('writing connected clients failed')),
        'the failed write',
      );
      await proxy.open();
      await eventually(() => isListed(staying), 'the instance to be listed again');
      await eventually(async () => {
        const users = new Set((await listed()).map(({ userId }) => userId));
        return users.has(staying) && !users.has(leaving);
      }, 'the removal of the closed connection');
      expect(lines.some((line) => line.includes('writing connected clients failed'))).toBe(true);
    });
  });
});

/** A frame without mask, as only a server may send it. */
const UNMASKED = Buffer.from([0x81, 1, 0x78]);
const UPGRADE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': Buffer.alloc(16).toString('base64'),
  'sec-websocket-protocol': 'graphql-transport-ws',
};
