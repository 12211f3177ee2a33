import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';

import { createPayloadKeys, openSealedPayload, type SealedPayload } from '../../../client/index.ts';
import { WatchChangesDocument, WatchSealedChangesDocument } from '../../generated/operations.ts';
import { eventually } from '../../support/eventually.ts';
import { startTestService, type TestService } from '../../support/service.ts';
import { type TcpProxy, tcpProxy } from '../../support/tcp-proxy.ts';
import { type HiveGateways, startHiveGateways } from '../../support/transports/hive-gateway.ts';
import { overSse } from '../../support/transports/transports.ts';
import { postActivities } from '../../support/graph-seed.ts';

const TENANT = 'tenant-sealed-gateway';

interface Recorder {
  proxy: TcpProxy;
  /** Records all bytes in both directions. */
  text(): string;
}

async function record(url: string): Promise<Recorder> {
  const { hostname, port } = new URL(url);
  const chunks: Buffer[] = [];
  const proxy = await tcpProxy(hostname, Number(port), (chunk) => chunks.push(chunk));
  return { proxy, text: () => Buffer.concat(chunks).toString('latin1') };
}

describe('a sealed payload', () => {
  let service: TestService;
  let hive: HiveGateways;
  let behind: Recorder;
  let before: Recorder;
  let monitor: Redis;
  const commands: string[] = [];

  beforeAll(async () => {
    const redis = new Redis(inject('redisUrl'));
    monitor = await redis.monitor();
    redis.disconnect();
    monitor.on('monitor', (_time: string, args: string[]) => commands.push(args.join(' ')));
    [hive, service] = await Promise.all([startHiveGateways(), startTestService({ REDIS_URL: inject('redisUrl') })]);
    behind = await record(service.url);
    await hive.standBefore(`http://127.0.0.1:${behind.proxy.port}`);
    before = await record(hive.urls.sse);
  });
  afterAll(async () => {
    monitor.disconnect();
    await hive.close();
    await Promise.all([before.proxy.shut(), behind.proxy.shut()]);
    await service.close();
  });

  it('cannot be read by the gateway or Redis, only by the subscriber', async () => {
    const subscribe = overSse(() => `http://127.0.0.1:${before.proxy.port}`);
    const producer = await service.token({ tenant_id: TENANT, sub: 'producer', permissions: ['notif.ingest'] });
    const post = (userId: string, title: string) => postActivities(service, producer, TENANT, [userId], [title]);
    const connected = (count: number) =>
      eventually(async () => (await service.core.clients.list(TENANT, {})).rows.length === count, 'the connections');

    // A subscription without sealing shows that the recorders see everything.
    const open = subscribe(WatchChangesDocument, {}, await service.token({ tenant_id: TENANT, sub: 'open' }));
    await connected(1);
    await post('open', 'PostcardForEverybody');
    await eventually(() => open.results.length === 1, 'the open notification');
    for (const { text } of [before, behind]) expect(text()).toContain('PostcardForEverybody');

    const { privateKey, clientPublicKey } = await createPayloadKeys();
    const token = await service.token({ tenant_id: TENANT, sub: 'reader' });
    const sealed = subscribe(WatchSealedChangesDocument, { clientPublicKey }, token);
    await connected(2);
    await post('reader', 'LetterForOneReader');
    await eventually(() => sealed.results.length === 1, 'the sealed notification');

    const payload = sealed.results[0]?.data?.sealedInboxChanged as SealedPayload;
    const opened = await openSealedPayload({
      privateKey,
      clientPublicKey,
      tenantId: TENANT,
      userId: 'reader',
      payload,
    });
    expect(JSON.parse(opened)).toMatchObject({ notification: { title: 'LetterForOneReader' }, unreadCount: 1 });
    for (const { text } of [before, behind]) {
      expect(text()).toContain(payload.ciphertext);
      expect(text()).not.toContain('LetterForOneReader');
    }
    // The wake-up was sent through Redis and contains no data.
    expect(commands.filter((command) => /^publish /i.test(command) && command.includes(TENANT))).not.toEqual([]);
    expect(commands.join('\n')).not.toMatch(/LetterForOneReader|PostcardForEverybody/);
    open.stop();
    sealed.stop();
  });
});
