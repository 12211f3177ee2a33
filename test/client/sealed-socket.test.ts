import { type Client, type ClientOptions, createClient } from 'graphql-ws';
import { afterEach, describe, expect, it } from 'vitest';

import { SealedWebSocket } from '../../client/index.ts';
import { eventually } from '../support/eventually.ts';
import { type SealedServer, sealedServer, type SealedServerOptions, tokenOf } from './sealed-server.ts';

const ECHO = 'query ($text: String!) { echo(text: $text) }';
const ITEMS = 'subscription ($after: String, $upTo: Int) { item(after: $after, upTo: $upTo) { title } }';

describe('SealedWebSocket with a standard graphql-ws client', () => {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).toReversed()) await end();
  });
  const serve = async (options?: SealedServerOptions): Promise<SealedServer> => {
    const server = await sealedServer(options);
    ends.push(() => server.close());
    return server;
  };
  const connectTo = ({ url }: SealedServer, options: Partial<ClientOptions> = {}): Client => {
    const client = createClient({
      url,
      webSocketImpl: SealedWebSocket,
      connectionParams: { token: tokenOf() },
      retryAttempts: 0,
      ...options,
    });
    ends.push(() => client.terminate());
    return client;
  };

  const echo = async (client: Client, text: string): Promise<unknown> => {
    for await (const { data } of client.iterate({ query: ECHO, variables: { text } })) return data?.['echo'];
    return undefined;
  };
  /** Returns all titles of a subscription and the error with which it ended. */
  const watch = async (client: Client, variables: object = {}): Promise<{ titles: string[]; error?: unknown }> => {
    const titles: string[] = [];
    try {
      const results = client.iterate<{ item: { title: string } }>({ query: ITEMS, variables: { ...variables } });
      for await (const { data } of results) titles.push(data?.item.title ?? '');
    } catch (error) {
      return { titles, error };
    }
    return { titles };
  };

  it('transports queries, subscriptions and long texts, and sends only the handshake in plain text', async () => {
    const server = await serve();
    const client = connectTo(server, { lazyCloseTimeout: 60_000 });
    const long = 'đ'.repeat(70_000);
    server.add('first secret', 'second secret');
    expect(await echo(client, long)).toBe(long);
    expect(await watch(client, { after: '0', upTo: 2 })).toEqual({ titles: ['first secret', 'second secret'] });

    const [connection] = server.connections;
    const [init, ...frames] = connection?.received ?? [];
    expect(server.connections).toHaveLength(1);
    expect(connection?.params).toEqual({ token: tokenOf(), clientPublicKey: expect.stringMatching(/^[\w-]{87}$/) });
    expect(init).toContain('connection_init');
    expect(frames.length).toBeGreaterThan(1);
    expect(frames.every((frame) => Buffer.isBuffer(frame) && !frame.includes('subscribe'))).toBe(true);
  });

  it('delivers items that are added while it is open, in order', async () => {
    const server = await serve();
    const titles = Array.from({ length: 500 }, (_, number) => `item ${number}`);
    const watching = watch(connectTo(server), { after: '0', upTo: titles.length });
    await eventually(() => server.connections[0]?.subscribed.length, 'the subscription');
    for (const title of titles) server.add(title);
    expect(await watching).toEqual({ titles });
  });

  it('delivers several messages of one frame in order', async () => {
    const server = await serve({
      wire: (frame, count, { stream }) => {
        if (count > 0 || !stream) return [frame];
        const next = (title: string) => ({ id: 'ours', type: 'next', payload: { data: { item: { title } } } });
        const rest = [[next('a'), next('b')], [], [next('c'), { id: 'ours', type: 'complete' }]];
        return [frame, ...rest.map((messages) => stream.sealer.seal(JSON.stringify(messages)))];
      },
    });
    server.add('first');
    expect(await watch(connectTo(server, { generateID: () => 'ours' }), { after: '0' })).toEqual({
      titles: ['first', 'a', 'b', 'c'],
    });
  });

  it('keeps the digits of numbers in several messages of one frame', async () => {
    const server = await serve({
      wire: (frame, count, { stream }) => {
        if (count > 0 || !stream) return [frame];
        const next = (title: string) => `{"id":"ours","type":"next","payload":{"data":{"item":{"title":${title}}}}}`;
        const end = '{"id":"ours","type":"complete"}';
        return [
          frame,
          stream.sealer.seal(`[${[next('12345678901234567890'), next('1.10'), next('5'), end].join(',')}]`),
        ];
      },
    });
    server.add('first');
    const jsonMessageReviver = (_key: string, value: unknown, context?: { source?: string }): unknown =>
      typeof value === 'number' ? context?.source : value;
    const client = connectTo(server, { generateID: () => 'ours', jsonMessageReviver });
    expect(await watch(client, { after: '0' })).toEqual({ titles: ['first', '12345678901234567890', '1.10', '5'] });
  });

  it('combines waiting messages into one frame', async () => {
    const server = await serve();
    const client = connectTo(server);
    const texts = Array.from({ length: 20 }, (_, number) => `text ${number}`);
    expect(await Promise.all(texts.map((text) => echo(client, text)))).toEqual(texts);
    const frames = server.connections[0]?.types.filter((types) => types.includes('subscribe')) ?? [];
    expect(server.connections[0]?.subscribed).toEqual(texts.map((text) => ({ text })));
    expect(frames.length).toBeLessThan(texts.length);
  });

  describe('derives its keys from the same tenant and user as the server', () => {
    const token = tokenOf();
    const other = tokenOf({ tenant_id: 'other', sub: 'user' });
    it.each([
      { token },
      { token: `Bearer ${token}` },
      { authorization: `Bearer ${token}` },
      { Authorization: `bearer ${token}` },
      { headers: { AUTHORIZATION: `Bearer ${token}` } },
      { token, headers: { authorization: 'Bearer of.nobody.here' } },
      { token: other, 'x-tenant-id': 'tenant' },
      { token: other, 'X-Tenant-ID': 'tenant' },
      { token: other, headers: { 'X-Tenant-Id': 'tenant' } },
      { headers: { authorization: `Bearer ${other}`, 'x-tenant-id': 'tenant' }, 'x-tenant-id': 'later' },
    ])('with connectionParams %j', async (connectionParams) => {
      expect(await echo(connectTo(await serve(), { connectionParams }), 'hello')).toBe('hello');
    });

    it('for a superadmin without a tenant and a user id in Unicode', async () => {
      const identity = { tenantId: '', userId: 'Nguyễn Văn A' };
      const connectionParams = { token: tokenOf({ sub: 'Nguyễn Văn A' }) };
      expect(await echo(connectTo(await serve({ identity }), { connectionParams }), 'hello')).toBe('hello');
    });

    it('and closes with 4400 when the server derives them from another user', async () => {
      const server = await serve({ identity: { tenantId: 'tenant', userId: 'somebody else' } });
      await expect(echo(connectTo(server), 'hello')).rejects.toMatchObject({ code: 4400, reason: 'frame_refused' });
      expect(server.connections[0]?.subscribed).toEqual([]);
    });
  });

  describe('refuses a handshake', () => {
    it.each([
      [undefined, 'token_missing'],
      [{}, 'token_missing'],
      [{ token: '' }, 'token_missing'],
      [{ token: 'no JWT' }, 'token_unreadable'],
      [{ token: 'a.!!!.c' }, 'token_unreadable'],
      [{ token: `a.${Buffer.from('"text"').toString('base64url')}.c` }, 'token_unreadable'],
      [{ token: tokenOf({ tenant_id: 'tenant' }) }, 'token_unreadable'],
    ])('with connectionParams %j', async (connectionParams, code) => {
      const server = await serve();
      const client = connectTo(server, connectionParams ? { connectionParams } : { connectionParams: undefined });
      await expect(echo(client, 'hello')).rejects.toMatchObject({ name: 'SealError', code });
      const closed = await eventually(() => server.connections[0]?.closed, 'the close');
      expect(closed.code).toBe(4005);
      expect(server.connections[0]?.received).toEqual([]);
    });

    it.each<[string, (payload: Record<string, unknown>) => Record<string, unknown>, string]>([
      ['another protocol', (payload) => ({ ...payload, protocol: 'nsg2' }), 'handshake_failed'],
      ['no protocol', () => ({}), 'handshake_failed'],
      ['no salt', ({ salt: _salt, ...payload }) => payload, 'handshake_failed'],
      ['a short salt', (payload) => ({ ...payload, salt: 'AAAA' }), 'invalid_key'],
      [
        'a public key that is not a point of P-256',
        (payload) => ({ ...payload, serverPublicKey: 'B'.repeat(87) }),
        'invalid_key',
      ],
    ])('when connection_ack has %s', async (_case, acknowledge, code) => {
      const server = await serve({ acknowledge });
      await expect(echo(connectTo(server), 'hello')).rejects.toMatchObject({ name: 'SealError', code });
      expect(await eventually(() => server.connections[0]?.closed, 'the close')).toEqual({ code: 4400, reason: code });
    });
  });

  describe('closes with 4400 and delivers no further messages', () => {
    const flip = (frame: Buffer): Buffer => {
      const flipped = Buffer.from(frame);
      flipped[0] = (flipped[0] as number) ^ 1;
      return flipped;
    };
    let kept: Buffer = Buffer.alloc(0);
    // Each replaces the second frame by an invalid one. Valid frames follow.
    const invalidFrames: [string, NonNullable<SealedServerOptions['wire']>][] = [
      ['a changed frame', (frame, count) => [count === 1 ? flip(frame) : frame]],
      ['a truncated frame', (frame, count) => [count === 1 ? frame.subarray(0, -1) : frame]],
      ['a frame shorter than a tag', (frame, count) => [count === 1 ? frame.subarray(0, 5) : frame]],
      ['a frame after a lost one', (frame, count) => (count === 1 ? [] : [frame])],
      ['a replayed frame', (frame, count) => (count === 0 ? [frame, frame] : [frame])],
      [
        'a frame out of order',
        (frame, count) => {
          if (count === 1) kept = frame;
          return count === 1 ? [] : count === 2 ? [frame, kept] : [frame];
        },
      ],
      ['a message that is not sealed', (frame, count) => (count === 1 ? ['{"type":"ping"}', frame] : [frame])],
      ['its own frame, sent back', (frame, count, { received }) => [count === 1 ? (received[1] as Buffer) : frame]],
      [
        'sealed text that is not JSON',
        (frame, count, { stream }) => [frame, ...(count === 0 && stream ? [stream.sealer.seal('[1')] : [])],
      ],
      [
        'sealed bytes that are not UTF-8',
        (frame, count, { stream }) => [frame, ...(count === 0 && stream ? [stream.sealer.seal(Buffer.of(0xff))] : [])],
      ],
    ];

    it.each(invalidFrames)('after receiving %s', async (_case, wire) => {
      const server = await serve({ wire });
      server.add('first', 'second', 'third', 'fourth');
      const closes: unknown[] = [];
      const client = connectTo(server, { on: { closed: (event) => closes.push(event) } });
      const { titles, error } = await watch(client, { after: '0' });
      expect(error).toMatchObject({ name: 'SealError', code: 'frame_refused' });
      expect(titles).toEqual(['first']);
      expect(closes).toEqual([{ type: 'close', code: 4400, reason: 'frame_refused', wasClean: false }]);
      expect(await eventually(() => server.connections[0]?.closed, 'the close')).toEqual({
        code: 4400,
        reason: 'frame_refused',
      });
    });
  });

  it('delivers all messages that arrived before the close, and then the close', async () => {
    const server = await serve({
      wire: (frame, count, { socket }) => {
        if (count === 2) queueMicrotask(() => socket.close(4403, 'token_expired'));
        return [frame];
      },
    });
    server.add('first', 'second', 'third');
    const { titles, error } = await watch(connectTo(server), { after: '0' });
    expect(titles).toEqual(['first', 'second', 'third']);
    expect(error).toMatchObject({ code: 4403, reason: 'token_expired' });
  });

  it('reports an error when the server is not reachable', async () => {
    const server = await serve();
    await server.close();
    const { error } = await watch(connectTo(server));
    expect(error).toMatchObject({ type: 'error' });
  });

  it('has the same states as a WebSocket, and sends nothing after close()', async () => {
    const server = await serve();
    const socket = new SealedWebSocket(server.url, 'graphql-transport-ws');
    expect(socket.readyState).toBe(SealedWebSocket.CONNECTING);
    expect(() => socket.send('{}')).toThrow('not open');
    await new Promise((onopen) => Object.assign(socket, { onopen }));
    expect([socket.readyState, socket.protocol, socket.url]).toEqual([
      SealedWebSocket.OPEN,
      'graphql-transport-ws',
      `${server.url}/`,
    ]);
    expect(() => socket.send('{"type":"ping"}')).toThrow('connection_init');
    const closed = new Promise((onclose) => Object.assign(socket, { onclose }));
    socket.send(JSON.stringify({ type: 'connection_init', payload: { token: tokenOf() } }));
    socket.send('{"type":"ping"}');
    expect(socket.bufferedAmount).toBeGreaterThan(0);
    socket.close(4321, 'enough');
    expect(socket.readyState).toBe(SealedWebSocket.CLOSING);
    expect(await closed).toMatchObject({ code: 4321, reason: 'enough' });
    expect(socket.readyState).toBe(SealedWebSocket.CLOSED);
    socket.send('{"type":"ping"}');
    expect(server.connections[0]?.received).toEqual([]);
  });
});
