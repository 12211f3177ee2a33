import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { openDatabase } from '../../src/database/database.ts';
import { isDatabaseUnavailable } from '../../src/database/errors.ts';
import { createLog } from '../../src/log.ts';
import { testDatabase } from '../support/service.ts';
import { tcpProxy } from '../support/tcp-proxy.ts';
import type { TestDatabase } from '../support/template-database.ts';

describe('the connections of the API', () => {
  let files: TestDatabase;
  beforeAll(async () => {
    files = await testDatabase();
  });
  afterAll(() => files.drop());

  it('are never all used by one tenant, whose transactions wait for each other', async () => {
    const database = openDatabase({ url: files.loginUrl, log: createLog('silent'), poolSize: 4 });
    const release = Promise.withResolvers<void>();
    let running = 0;
    const busy = Array.from({ length: 20 }, () =>
      database.asTenant('tenant-busy', async (tx) => {
        running += 1;
        await release.promise;
        await tx.query('select 1');
      }),
    );
    const other = await database.asTenant('tenant-other', (tx) => tx.query('select 1 as one'));
    expect(other).toEqual([{ one: 1 }]);
    expect(running).toBeLessThan(4);
    release.resolve();
    await Promise.all(busy);
    await database.close();
  });

  it('count as broken when the database does not answer, and are replaced', async () => {
    const { hostname, port } = new URL(files.loginUrl);
    const proxy = await tcpProxy(hostname, Number(port || 5432));
    const url = new URL(files.loginUrl);
    url.hostname = '127.0.0.1';
    url.port = String(proxy.port);
    const database = openDatabase({ url: url.href, log: createLog('silent'), poolSize: 2, queryTimeoutMs: 300 });
    await database.asTenant('tenant', (tx) => tx.query('select 1'));
    proxy.stall();
    const failure = await database.asTenant('tenant', (tx) => tx.query('select 1')).catch((error: unknown) => error);
    expect(isDatabaseUnavailable(failure)).toBe(true);
    proxy.resume();
    expect(await database.asTenant('tenant', (tx) => tx.query('select 1 as one'))).toEqual([{ one: 1 }]);
    await database.close();
    await proxy.shut();
  });
});
