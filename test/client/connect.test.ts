import type { Client } from 'graphql-ws';
import { afterEach, describe, expect, it } from 'vitest';

import { connect, type ConnectOptions, resume, type ResumeOptions, StreamError } from '../../client/index.ts';
import { eventually } from '../support/eventually.ts';
import { type SealedServer, sealedServer, type SealedServerOptions, tokenOf } from './sealed-server.ts';

interface Data {
  item: { cursor: string; title: string };
}

const ITEMS = 'subscription ($after: String, $upTo: Int) { item(after: $after, upTo: $upTo) { cursor title } }';
const items: ResumeOptions<Data> = { query: ITEMS, after: '0', cursorOf: ({ item }) => item.cursor };

describe('the client', () => {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).toReversed()) await end();
  });
  const serve = async (options?: SealedServerOptions): Promise<SealedServer> => {
    const server = await sealedServer(options);
    ends.push(() => server.close());
    return server;
  };
  const connectTo = ({ url }: SealedServer, options: Partial<ConnectOptions> = {}): Client => {
    const client = connect({ url, token: tokenOf(), ...options });
    ends.push(() => client.terminate());
    return client;
  };
  const follow = (client: Client, options: Partial<ResumeOptions<Data>> = {}) => {
    const results = resume<Data>(client, { ...items, ...options });
    ends.push(() => results.return?.());
    return results;
  };
  const take = async (results: ReturnType<typeof follow>, count: number): Promise<string[]> => {
    const titles: string[] = [];
    while (titles.length < count) {
      const { value, done } = await results.next();
      if (done) throw new Error('it ended');
      titles.push(value.data?.item.title ?? '');
    }
    return titles;
  };

  it.each<[string, (server: SealedServer, client: Client) => void]>([
    ['the network is lost', (server) => server.connections[0]?.socket.terminate()],
    ['the client terminates a frozen connection', (_server, client) => client.terminate()],
    ['the token expires', (server) => server.connections[0]?.socket.close(4403, 'token_expired')],
    ['the server has an internal error', (server) => server.connections[0]?.socket.close(4500, 'internal')],
    ['the server shuts down', (server) => server.connections[0]?.socket.close(1001)],
    ['the client refuses a frame', (server) => server.connections[0]?.socket.send(Buffer.alloc(40))],
    ['the server refuses a frame', (server) => server.connections[0]?.socket.close(4400, 'frame_refused')],
  ])('continues after its last cursor, with a new token, when %s', async (_event, interrupt) => {
    const server = await serve();
    let asked = 0;
    const token = async () => tokenOf({ tenant_id: 'tenant', sub: 'user', jti: String(++asked) });
    const client = connectTo(server, { token });
    const results = follow(client);
    server.add('a', 'b');
    expect(await take(results, 2)).toEqual(['a', 'b']);
    interrupt(server, client);
    server.add('c', 'd');
    expect(await take(results, 2)).toEqual(['c', 'd']);
    expect(server.connections.map(({ subscribed }) => subscribed)).toEqual([[{ after: '0' }], [{ after: '2' }]]);
    const tokens = server.connections.map(({ params }) => params['token']);
    expect(new Set(tokens).size).toBe(2);
  });

  it('resumes after the last result that arrived, even if the application has not read it yet', async () => {
    const server = await serve();
    const results = follow(connectTo(server));
    server.add('a', 'b');
    expect(await take(results, 1)).toEqual(['a']);
    await eventually(() => server.connections[0]?.subscribed.length, 'the subscription');
    server.connections[0]?.socket.close(1001);
    server.add('c');
    expect(await take(results, 2)).toEqual(['b', 'c']);
  });

  it('subscribes again after its last cursor when the server completes the subscription', async () => {
    const server = await serve();
    const results = follow(connectTo(server), { variables: { upTo: 1 } });
    server.add('a');
    expect(await take(results, 1)).toEqual(['a']);
    await eventually(() => server.connections.flatMap(({ subscribed }) => subscribed).length > 1, 'another try');
    expect(server.connections.flatMap(({ subscribed }) => subscribed).at(-1)).toEqual({ upTo: 1, after: '1' });
  });

  it('retries until the server is reachable', async () => {
    let url = 'ws://127.0.0.1:1';
    const results = follow(connect({ url: () => url, token: tokenOf }));
    const taken = take(results, 1);
    const server = await serve();
    server.add('a');
    url = server.url;
    expect(await taken).toEqual(['a']);
  });

  it('acts in the tenant of the option tenantId', async () => {
    const server = await serve({ identity: { tenantId: 'other', userId: 'root' } });
    const results = follow(connectTo(server, { token: tokenOf({ sub: 'root' }), tenantId: 'other' }));
    server.add('a');
    expect(await take(results, 1)).toEqual(['a']);
  });

  it('throws a StreamError with the GraphQL errors of an invalid operation', async () => {
    const results = follow(connectTo(await serve()), { query: 'subscription { nothing }' });
    const error = await results.next().then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(error).toBeInstanceOf(StreamError);
    expect(error).toMatchObject({ code: 'graphql_error', errors: [{ message: expect.stringContaining('nothing') }] });
    expect(await results.next()).toEqual({ done: true, value: undefined });
  });

  it.each<[number, string]>([
    [4401, 'unauthenticated'],
    [4400, 'invalid_token'],
  ])('throws a StreamError when the server refuses the token with %i', async (code, reason) => {
    const results = follow(connectTo(await serve({ refuse: () => [code, reason] })));
    await expect(results.next()).rejects.toMatchObject({ name: 'StreamError', code: reason });
  });

  it('throws without a token, and rethrows an error of cursorOf', async () => {
    const server = await serve();
    await expect(follow(connectTo(server, { token: '' })).next()).rejects.toMatchObject({ code: 'token_missing' });
    const cursorOf = (): string => {
      throw new Error('no cursor here');
    };
    server.add('a');
    await expect(follow(connectTo(server), { cursorOf }).next()).rejects.toThrow('no cursor here');
  });

  it('ends on return(), even while next() is pending, and closes the connection', async () => {
    const server = await serve();
    const results = follow(connectTo(server));
    server.add('a');
    expect(await take(results, 1)).toEqual(['a']);
    const pending = results.next();
    await results.return?.();
    expect(await pending).toEqual({ done: true, value: undefined });
    expect(await eventually(() => server.connections[0]?.closed, 'the close')).toMatchObject({ code: 1000 });
    expect(server.connections).toHaveLength(1);
  });

  it('ends when the client is disposed of', async () => {
    const server = await serve();
    const client = connectTo(server);
    const results = follow(client);
    server.add('a');
    expect(await take(results, 1)).toEqual(['a']);
    await client.dispose();
    expect(await results.next()).toEqual({ done: true, value: undefined });
  });
});
