import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Service } from '../../../src/service.ts';
import { eventually } from '../../support/eventually.ts';
import { startTestService, type TestService, welcomeEvent } from '../../support/service.ts';
import { type TcpProxy, tcpProxy } from '../../support/tcp-proxy.ts';

describe('during an outage of PostgreSQL', () => {
  let service: TestService;
  let other: Service;
  let proxy: TcpProxy;
  let token: string;
  const log: string[] = [];
  beforeAll(async () => {
    service = await startTestService();
    const database = new URL(service.env['DATABASE_URL'] as string);
    proxy = await tcpProxy(database.hostname, Number(database.port));
    database.hostname = '127.0.0.1';
    database.port = String(proxy.port);
    other = await service.startAnother(
      { DATABASE_URL: database.href, LOG_LEVEL: 'info' },
      { write: (line) => void log.push(line) },
    );
    token = await service.token({ tenant_id: 'tenant-away', sub: 'anna', permissions: ['notif.ingest'] });
    await proxy.shut();
  });
  afterAll(async () => {
    await service.close();
    await proxy.shut();
  });

  it('a query is answered with 503 `unavailable` and Retry-After', async () => {
    const response = await fetch(`${other.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify({ query: '{ unreadNotificationCount }' }),
    });
    expect(response.status).toBe(503);
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await response.json()).toMatchObject({ errors: [{ extensions: { error_code: 'unavailable' } }] });
  });

  it('an event is answered with 503 `unavailable` and Retry-After', async () => {
    const response = await fetch(`${other.url}/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json', authorization: `Bearer ${token}` },
      body: JSON.stringify({
        specversion: '1.0',
        id: 'welcome-1',
        source: '/test',
        type: 'notification.triggered.v1',
        data: welcomeEvent('tenant-away'),
      }),
    });
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('5');
    expect(await response.json()).toMatchObject({ error_code: 'unavailable' });
  });

  it('the mailbox is answered with 503 `unavailable` and Retry-After, without the address of the database', async () => {
    const response = await fetch(`${other.url}/mailbox`);
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('5');
    expect(await response.json()).toEqual({
      error_code: 'unavailable',
      message: 'The database is unavailable. Try again later.',
      trace_id: expect.any(String),
    });
  });

  it('the log contains one message when readiness is lost and one when it returns, for any number of probes', async () => {
    const probe = async (): Promise<number> => (await fetch(`${other.url}/readyz`)).status;
    const logged = (message: string): number =>
      log.filter((line) => line.includes(`"${message}"`) && line.includes('"check":"database"')).length;
    expect([await probe(), await probe(), await probe()]).toEqual([503, 503, 503]);
    expect(logged('not ready')).toBe(1);
    await proxy.open();
    await eventually(async () => (await probe()) === 200, 'readiness');
    await probe();
    expect([logged('not ready'), logged('ready again')]).toEqual([1, 1]);
  });
});
