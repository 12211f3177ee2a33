import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';

import { createEmitter, type Destination } from '../../client/emitter.ts';
import { NOTIFICATION_CREATED_TOPIC } from '../../resolvers/subscriptions/topic-message.ts';
import type { Actor } from '../../src/identity/actor.ts';
import { newId } from '../../src/ids.ts';
import { MAX_SIGNAL, topics } from '../../src/live/bus.ts';
import type { Service } from '../../src/service.ts';
import { postActivities, settled } from '../support/graph-seed.ts';
import { eventually } from '../support/eventually.ts';
import { startTestService, type TestService } from '../support/service.ts';
import { connectSocket, type SocketClient } from '../support/socket-client.ts';

const TENANT = 'tenant-signals';
const OTHER = 'tenant-other';

interface Watcher extends SocketClient {
  /** The client id from `connection_ack`. */
  clientId: string;
  /** Returns the data of each received message of a topic. */
  heard(topic: string): unknown[];
}

describe('signal:emit', () => {
  let service: TestService;
  let neighbour: Service;
  let redis: Redis;
  const lines: string[] = [];
  const open: Watcher[] = [];

  beforeAll(async () => {
    redis = new Redis(inject('redisUrl'));
    service = await startTestService({ REDIS_URL: inject('redisUrl') });
    const logTo = { write: (line: string) => void lines.push(line) };
    neighbour = await service.startAnother({ LOG_LEVEL: 'warn' }, logTo);
    const admin = { tenantId: TENANT, userId: 'admin' } as Actor;
    await service.core.policies.import(
      admin,
      [
        { userId: 'anna', role: 'owner', scope: 'merchant', scopeId: 'm-1' },
        { userId: 'anna', role: 'cashier', scope: 'merchant', scopeId: 'm-1' },
        { userId: 'binh', role: 'owner', scope: 'organization', scopeId: 'o-1' },
      ],
      { isWhole: false, traceId: 'x' },
    );
  });
  afterEach(() => {
    for (const { ws } of open.splice(0)) ws.terminate();
  });
  afterAll(async () => {
    redis.disconnect();
    await service.close();
  });

  const emit = (message: unknown): Promise<number> =>
    redis.publish(topics.signals, typeof message === 'string' ? message : JSON.stringify(message));

  /** Subscribes to topics and waits until messages arrive. */
  const watch = async (at: Pick<Service, 'url'>, tenantId: string, sub: string, ...watched: string[]) => {
    const socket = await connectSocket(at.url, await service.token({ tenant_id: tenantId, sub }));
    const { clientId } = socket.received[0]?.payload ?? { clientId: '' };
    const all = (topic: string) =>
      socket
        .results<{ topicMessage: { data: unknown } }>(topic)
        .map(({ data }) => data?.topicMessage.data)
        .filter((data) => data !== 'ready?');
    const watcher: Watcher = { ...socket, clientId, heard: all };
    open.push(watcher);
    for (const topic of watched) {
      watcher.subscribe(topic, 'subscription ($topic: String!) { topicMessage(topic: $topic) { topic data sentAt } }', {
        topic,
      });
      if (topic === NOTIFICATION_CREATED_TOPIC) continue;
      await eventually(async () => {
        await emit({ topic, data: 'ready?', destination: { client: clientId } });
        return watcher.results(topic).length > 0;
      }, 'the subscription');
    }
    return watcher;
  };

  it('reaches the subscribers that match all fields of the destination, on every instance, and no others', async () => {
    const topic = `orders/${newId()}`;
    const people = {
      anna: await watch(service, TENANT, 'anna', topic),
      annaThere: await watch(neighbour, TENANT, 'anna', topic),
      binh: await watch(neighbour, TENANT, 'binh', topic),
      stranger: await watch(service, OTHER, 'anna', topic),
    };
    const { anna } = people;
    const cases: [name: string, destination: Destination | null | undefined, receivers: (keyof typeof people)[]][] = [
      ['a tenant', { tenant: TENANT }, ['anna', 'annaThere', 'binh']],
      ['another tenant', { tenant: OTHER }, ['stranger']],
      ['a user', { user: 'binh' }, ['binh']],
      ['a user of a tenant', { tenant: TENANT, user: 'anna' }, ['anna', 'annaThere']],
      ['a user with the same id in another tenant', { tenant: OTHER, user: 'anna' }, ['stranger']],
      ['a merchant', { merchant: 'm-1' }, ['anna', 'annaThere']],
      ['a merchant of a tenant', { tenant: TENANT, merchant: 'm-1' }, ['anna', 'annaThere']],
      ['a merchant that the tenant does not have', { tenant: OTHER, merchant: 'm-1' }, []],
      ['an organization', { tenant: TENANT, organization: 'o-1' }, ['binh']],
      ['a merchant as an organization', { organization: 'm-1' }, []],
      ['a connection', { client: anna.clientId }, ['anna']],
      ['a connection with its user and tenant', { client: anna.clientId, user: 'anna', tenant: TENANT }, ['anna']],
      ['a connection with another user', { client: anna.clientId, user: 'binh' }, []],
      ['a user without the role', { tenant: TENANT, user: 'binh', merchant: 'm-1' }, []],
      ['two roles at once', { tenant: TENANT, merchant: 'm-1', organization: 'o-1' }, []],
      ['an empty destination', {}, []],
      ['a null destination', null, []],
      ['no destination', undefined, []],
    ];
    for (const [data, destination] of cases) await emit({ topic, data, destination });
    for (const tenant of [TENANT, OTHER]) await emit({ topic, data: 'end', destination: { tenant } });
    for (const [name, watcher] of Object.entries(people)) {
      await eventually(() => watcher.heard(topic).includes('end'), `the last message for ${name}`);
      const meant = cases.filter(([, , receivers]) => receivers.includes(name as never)).map(([data]) => data);
      expect(watcher.heard(topic), name).toEqual([...meant, 'end']);
    }
  });

  it('reaches subscribers of its topic with the data unchanged', async () => {
    const [one, other] = [`one/${newId()}`, `other/${newId()}`];
    const watcher = await watch(neighbour, TENANT, 'anna', one, other);
    const values = [{ a: [1, 'hai', null, { b: true }] }, 'text', 0, false, null, [], undefined];
    for (const data of values) await emit({ topic: one, data, destination: { user: 'anna' } });
    await eventually(() => watcher.heard(one).length === values.length, 'all values');
    expect(watcher.heard(one)).toEqual(values.map((data) => data ?? null));
    expect(watcher.heard(other)).toEqual([]);
  });

  it('accepts messages of the emitter in the client package', async () => {
    const topic = `orders/${newId()}`;
    const watchers = [await watch(service, TENANT, 'anna', topic), await watch(neighbour, TENANT, 'anna', topic)];
    const { emit: send } = createEmitter(redis);
    // The maximum length.
    const text = 'x'.repeat(MAX_SIGNAL - 200);
    await send(topic, { order: 7 }, { tenant: TENANT, user: 'anna' });
    await send(topic, text, { merchant: 'm-1' });
    for (const watcher of watchers) {
      await eventually(() => watcher.heard(topic).length === 2, 'both messages');
      expect(watcher.heard(topic)).toEqual([{ order: 7 }, text]);
    }
  });

  it('refuses malformed and oversized messages and logs them without their content', async () => {
    const topic = `orders/${newId()}`;
    const destination = { tenant: TENANT };
    const watchers = [await watch(service, TENANT, 'anna', topic), await watch(neighbour, TENANT, 'anna', topic)];
    const data = 'a-secret';
    const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
    const malformed: unknown[] = [
      data,
      '{"topic":"a-secret',
      '',
      'null',
      '7',
      '[]',
      '{}',
      { data, destination },
      { topic: '', data, destination },
      { topic: 7, data, destination },
      { topic: 'x'.repeat(257), data, destination },
      { topic, data, destination: 'everybody' },
      { topic, data, destination: [TENANT] },
      { topic, data, destination: { tenant: null } },
      { topic, data, destination: { tenant: '' } },
      { topic, data, destination: { tenant: { toString: 'a-secret' } } },
      { topic, data, destination: { tenant: TENANT, planet: 'earth' } },
      { topic, data: 'a-secret\u0000', destination },
      `{"topic":"${topic}","data":${deep},"destination":{"tenant":"${TENANT}"}}`,
      `{"topic":"${topic}","destination":${deep}}`,
      { topic, data: 'a-secret'.repeat(MAX_SIGNAL / 8), destination },
    ];
    lines.length = 0;
    for (const message of malformed) await emit(message);
    await emit({ topic, data: 'good', destination });
    for (const watcher of watchers) {
      await eventually(() => watcher.heard(topic).length > 0, 'the valid message');
      expect(watcher.heard(topic)).toEqual(['good']);
      expect(watcher.received.filter(({ type }) => type === 'error')).toEqual([]);
    }
    const refusals = lines.filter((line) => line.includes('signal refused'));
    expect(refusals).toHaveLength(malformed.length);
    expect(lines).toHaveLength(malformed.length);
    expect(lines.join('\n')).not.toContain('a-secret');
  });

  it('cannot imitate the topic of the service itself', async () => {
    const watcher = await watch(service, TENANT, 'anna', NOTIFICATION_CREATED_TOPIC);
    const other = await watch(neighbour, TENANT, 'binh', NOTIFICATION_CREATED_TOPIC);
    const producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
    let probes = 0;
    await eventually(async () => {
      await emit({ topic: NOTIFICATION_CREATED_TOPIC, data: 'forged', destination: { tenant: TENANT } });
      const title = `created ${(probes += 1)}`;
      await settled(service.databaseUrl, await postActivities(neighbour, producer, TENANT, ['anna'], [title]));
      return watcher.heard(NOTIFICATION_CREATED_TOPIC).length > 1;
    }, 'notifications');
    await eventually(() => watcher.heard(NOTIFICATION_CREATED_TOPIC).length >= probes - 1, 'the last notification');
    const heard = watcher.heard(NOTIFICATION_CREATED_TOPIC) as { title: string }[];
    expect(heard.map(({ title }) => title)).not.toContain(undefined);
    expect(heard[0]).toMatchObject({
      title: expect.stringMatching(/^created /),
      type: 'payment.succeeded',
      recipientScope: 'USERS',
      id: expect.any(String),
      cursor: expect.any(String),
      readAt: null,
    });
    expect(other.heard(NOTIFICATION_CREATED_TOPIC)).toEqual([]);
  });
});
