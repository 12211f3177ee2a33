import { once } from 'node:events';

import { createClient } from 'graphql-ws';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';

import { createKeys, openStream, type Opener, type Sealer, utf8 } from '../../../client/seal.ts';
import { connect, resume, SealedWebSocket } from '../../../client/index.ts';
import { InboxDocument } from '../../generated/operations.ts';
import { query } from '../../support/client.ts';
import { eventually } from '../../support/eventually.ts';
import { startTestService, type TestService } from '../../support/service.ts';
import { postActivities, settled } from '../../support/graph-seed.ts';

const TENANT = 'tenant-stream';

interface Handshake {
  socket: WebSocket;
  sealer: Sealer;
  opener: Opener;
  /** Frames after the acknowledgement, unchanged. */
  frames: { data: Buffer; isBinary: boolean }[];
}

describe('/stream', () => {
  let service: TestService;
  let producer: string;
  let people = 0;
  const open: { close(): void }[] = [];

  beforeAll(async () => {
    service = await startTestService();
    producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
  });
  afterEach(() => {
    for (const socket of open.splice(0)) socket.close();
  });
  afterAll(() => service.close());

  const url = (): string => `${service.url.replace('http', 'ws')}/stream`;
  const newUser = (): string => `person-${(people += 1)}`;
  const tokenOf = (sub: string): Promise<string> => service.token({ tenant_id: TENANT, sub });
  const post = async (user: string, ...titles: string[]): Promise<void> => {
    await settled(service.databaseUrl, await postActivities(service, producer, TENANT, [user], titles));
  };
  const bare = async (): Promise<WebSocket> => {
    const socket = new WebSocket(url(), 'graphql-transport-ws');
    open.push(socket);
    await once(socket, 'open');
    return socket;
  };
  const closed = async (socket: WebSocket): Promise<[number, string]> => {
    const [code, reason] = (await once(socket, 'close')) as [number, Buffer];
    return [code, reason.toString()];
  };
  const init = (socket: WebSocket, payload: unknown): void =>
    socket.send(JSON.stringify({ type: 'connection_init', payload }));

  /** Opens a connection at the level of frames, to tamper with them. */
  async function handshake(user: string): Promise<Handshake> {
    const socket = await bare();
    const keys = await createKeys();
    init(socket, { token: await tokenOf(user), clientPublicKey: keys.clientPublicKey });
    const [ack] = (await once(socket, 'message')) as [Buffer];
    const { type, payload } = JSON.parse(ack.toString()) as { type: string; payload: Record<string, string> };
    expect({ type, protocol: payload['protocol'] }).toEqual({ type: 'connection_ack', protocol: 'nsg1' });
    const { serverPublicKey = '', salt = '' } = payload;
    const frames: Handshake['frames'] = [];
    socket.on('message', (data: Buffer, isBinary) => frames.push({ data, isBinary }));
    return {
      socket,
      frames,
      ...(await openStream({ ...keys, serverPublicKey, salt, tenantId: TENANT, userId: user })),
    };
  }
  const subscribe = (document: string, variables = {}): Uint8Array<ArrayBuffer> =>
    utf8(JSON.stringify({ id: '1', type: 'subscribe', payload: { query: document, variables } }));

  it('answers queries, mutations and subscriptions of a standard graphql-ws client', async () => {
    const user = newUser();
    await post(user, 'một');
    const client = createClient({
      url: url(),
      webSocketImpl: SealedWebSocket,
      connectionParams: { token: await tokenOf(user) },
      lazy: false,
    });
    open.push({ close: () => void client.dispose() });
    const one = async (text: string) => (await client.iterate({ query: text }).next()).value as { data: never };
    expect(await one('{ unreadNotificationCount }')).toEqual({ data: { unreadNotificationCount: 1 } });
    expect(await one('mutation { markAllNotificationsRead }')).toEqual({ data: { markAllNotificationsRead: 1 } });
    const after = (await query(service.url, await tokenOf(user), InboxDocument, {})).notifications.liveCursor;
    const changes = client.iterate({
      query: 'subscription ($after: String) { inboxChanged(after: $after) { kind notification { title } } }',
      variables: { after },
    });
    await post(user, 'hai');
    expect((await changes.next()).value).toEqual({
      data: { inboxChanged: { kind: 'CREATED', notification: { title: 'hai' } } },
    });
  });

  it('sends only sealed frames after the acknowledgement, and combines waiting messages into one frame', async () => {
    const user = newUser();
    const before = (await query(service.url, await tokenOf(user), InboxDocument, {})).notifications.liveCursor;
    const titles = Array.from({ length: 40 }, (_unused, index) => `bí mật ${index}`);
    await post(user, ...titles);
    const { socket, sealer, opener, frames } = await handshake(user);
    const document = 'subscription ($after: String) { notificationCreated(after: $after) { title } }';
    socket.send(await sealer.seal(subscribe(document, { after: before })));
    const seen: string[] = [];
    let opened = 0;
    await eventually(async () => {
      while (opened < frames.length) {
        const { data, isBinary } = frames[opened] as Handshake['frames'][number];
        opened += 1;
        expect(isBinary).toBe(true);
        expect(data.includes('bí mật')).toBe(false);
        const messages = [JSON.parse(Buffer.from(await opener.open(new Uint8Array(data))).toString())].flat();
        seen.push(...messages.map((message) => message.payload.data.notificationCreated.title as string));
      }
      return seen.length >= titles.length;
    }, 'all notifications');
    expect(new Set(seen)).toEqual(new Set(titles));
    expect(opened).toBeLessThan(titles.length / 4);
  });

  it('accepts several messages of a client in one frame, in order', async () => {
    const { socket, sealer, opener, frames } = await handshake(newUser());
    const pings = ['a', 'b', 'c'].map((payload) => ({ type: 'ping', payload: { payload } }));
    socket.send(await sealer.seal(utf8(JSON.stringify(pings))));
    await eventually(() => frames.length > 0, 'the answer');
    const answer = Buffer.from(await opener.open(new Uint8Array(frames[0]?.data as Buffer))).toString();
    expect(JSON.parse(answer)).toEqual(pings.map((ping) => ({ ...ping, type: 'pong' })));
  });

  describe('refuses', () => {
    it.each([
      ['no token', async () => ({ clientPublicKey: (await createKeys()).clientPublicKey }), 4401, 'unauthenticated'],
      ['a broken token', async () => ({ token: 'nonsense' }), 4400, 'invalid_token'],
      ['no key', async () => ({ token: await tokenOf('anna') }), 4400, 'validation_failed'],
      [
        'an invalid key',
        async () => ({ token: await tokenOf('anna'), clientPublicKey: 'AAAA' }),
        4400,
        'validation_failed',
      ],
      [
        'a point that is not on the curve',
        async () => ({
          token: await tokenOf('anna'),
          clientPublicKey: Buffer.concat([Buffer.from([4]), Buffer.alloc(64, 7)]).toString('base64url'),
        }),
        4400,
        'validation_failed',
      ],
    ])('%s', async (_what, payload, code, reason) => {
      const socket = await bare();
      init(socket, await payload());
      expect(await closed(socket)).toEqual([code, reason]);
    });

    it('messages that are not sealed', async () => {
      const { socket } = await handshake(newUser());
      socket.send(JSON.stringify({ type: 'ping' }));
      expect(await closed(socket)).toEqual([4400, 'frame_refused']);
    });

    it('sealed messages before the key exchange', async () => {
      const socket = await bare();
      socket.send(Buffer.alloc(40));
      expect(await closed(socket)).toEqual([4400, 'frame_refused']);
    });

    const ping = utf8(JSON.stringify({ type: 'ping' }));
    it.each<[string, (sealer: Sealer) => Promise<Uint8Array[]>]>([
      [
        'changed',
        async (sealer) => {
          const frame = await sealer.seal(ping);
          frame[3] = (frame[3] as number) ^ 1;
          return [frame];
        },
      ],
      [
        'repeated',
        async (sealer) => {
          const frame = await sealer.seal(ping);
          return [frame, frame];
        },
      ],
      [
        'reordered',
        async (sealer) => {
          const [first, second] = [await sealer.seal(ping), await sealer.seal(ping)];
          return [second, first];
        },
      ],
      ['shortened', async (sealer) => [(await sealer.seal(ping)).subarray(0, -1)]],
      ['shorter than a tag', async () => [new Uint8Array(15)]],
      ['empty', async () => [new Uint8Array(0)]],
    ])('a frame that was %s', async (_what, frames) => {
      const { socket, sealer } = await handshake(newUser());
      for (const frame of await frames(sealer)) socket.send(frame);
      expect(await closed(socket)).toEqual([4400, 'frame_refused']);
    });

    it('a frame of another connection of the same user', async () => {
      const user = newUser();
      const [one, other] = [await handshake(user), await handshake(user)];
      one.socket.send(await other.sealer.seal(ping));
      expect(await closed(one.socket)).toEqual([4400, 'frame_refused']);
    });
  });

  it('derives different keys for each connection', async () => {
    const user = newUser();
    const [one, other] = [await handshake(user), await handshake(user)];
    for (const { socket, sealer } of [one, other])
      socket.send(await sealer.seal(utf8(JSON.stringify({ type: 'ping' }))));
    await eventually(() => one.frames.length > 0 && other.frames.length > 0, 'both answers');
    expect(one.frames[0]?.data.equals(other.frames[0]?.data as Buffer)).toBe(false);
    await expect(one.opener.open(new Uint8Array(other.frames[0]?.data as Buffer))).rejects.toMatchObject({
      code: 'frame_refused',
    });
  });

  it('can be resumed with a new token and after a lost connection, without loss', async () => {
    const user = newUser();
    const after = (await query(service.url, await tokenOf(user), InboxDocument, {})).notifications.liveCursor;
    let connections = 0;
    const client = connect({
      url: url(),
      // The first token expires soon. Its connection is closed, and another one follows.
      token: () => service.token({ tenant_id: TENANT, sub: user }, (connections += 1) === 1 ? '1s' : '1h'),
    });
    open.push({ close: () => void client.dispose() });
    const inbox = resume<{ notificationCreated: { cursor: string; title: string } }>(client, {
      query: 'subscription ($after: String) { notificationCreated(after: $after) { cursor title } }',
      after,
      cursorOf: (data) => data.notificationCreated.cursor,
    });
    const seen: unknown[] = [];
    const take = async (count: number): Promise<void> => {
      while (seen.length < count) seen.push((await inbox.next()).value?.data?.notificationCreated.title);
    };
    await post(user, 'một');
    await take(1);
    await eventually(() => connections === 2, 'the second connection');
    await post(user, 'hai');
    client.terminate();
    await post(user, 'ba');
    await take(3);
    expect(seen).toEqual(['một', 'hai', 'ba']);
  });
});
