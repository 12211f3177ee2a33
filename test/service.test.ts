import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, describe, expect, inject, it } from 'vitest';

import { projectRoot } from '../src/project-root.ts';
import { exitOf, outputOf, spawnScript } from './support/child.ts';
import { liveClient } from './support/client.ts';
import { eventually } from './support/eventually.ts';
import { WatchDeliveriesDocument, WatchInboxDocument } from './generated/operations.ts';
import { activityEvent, postEvent, startTestService, testDatabase, type TestService } from './support/service.ts';
import { sql } from './support/sql.ts';
import { tcpProxy } from './support/tcp-proxy.ts';

interface Readiness {
  status: string;
  missing: string[];
  checks: Record<string, string>;
}

describe('a running service', () => {
  let service: TestService;
  afterEach(() => service.close());

  const readiness = async (): Promise<{ code: number; body: Readiness }> => {
    const response = await fetch(`${service.url}/readyz`);
    return { code: response.status, body: (await response.json()) as Readiness };
  };

  it('is alive and ready', async () => {
    service = await startTestService();
    expect((await fetch(`${service.url}/healthz`)).status).toBe(200);
    expect(await readiness()).toEqual({
      code: 200,
      body: { status: 'ready', missing: [], checks: { database: 'ok', bus: 'ok' } },
    });
  });

  it('answers a request that offers an upgrade to HTTP/2', async () => {
    service = await startTestService();
    const token = await service.token({ tenant_id: 't', permissions: ['notif.ingest'] });
    const headers = {
      connection: 'Upgrade, HTTP2-Settings',
      upgrade: 'h2c',
      'http2-settings': 'AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA',
      'content-type': 'application/cloudevents+json',
      authorization: `Bearer ${token}`,
    };
    const data = activityEvent('t', ['anna']);
    const event = { specversion: '1.0', id: data.id, source: '/java', type: 'signal.activity-notification', data };
    const asking = request(`${service.url}/events`, { method: 'POST', headers }).end(JSON.stringify(event));
    const [response] = (await once(asking, 'response')) as [IncomingMessage];
    expect(response.resume().statusCode).toBe(202);
  });

  it('stays alive during an outage of the database, and reports it', async () => {
    service = await startTestService();
    const name = new URL(service.databaseUrl).pathname.slice(1);
    const admin = new URL(service.databaseUrl);
    admin.pathname = '/postgres';
    await sql(admin.href, `alter database ${name} allow_connections false`);
    await sql(admin.href, 'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [name]);
    expect(await readiness()).toMatchObject({ code: 503, body: { status: 'not_ready', missing: ['database'] } });
    expect((await fetch(`${service.url}/healthz`)).status).toBe(200);
    await sql(admin.href, `alter database ${name} allow_connections true`);
    await eventually(async () => (await readiness()).code === 200, 'readiness');
  });

  it('starts without Redis and delivers, and its subscribers miss nothing after the outage', async () => {
    const target = new URL(inject('redisUrl'));
    const redis = await tcpProxy(target.hostname, Number(target.port || 6379));
    await redis.shut();
    service = await startTestService({ REDIS_URL: `redis://127.0.0.1:${redis.port}` });
    expect(await readiness()).toMatchObject({ code: 503, body: { missing: ['bus'] } });
    const producer = await service.token({ tenant_id: 't', permissions: ['notif.ingest'] });
    const live = liveClient(service.url, { token: await service.token({ tenant_id: 't', sub: 'anna' }) });
    const inbox = live.subscribe(WatchInboxDocument, {});
    const send = (title: string) =>
      postEvent(service, producer, 'signal.activity-notification', activityEvent('t', ['anna'], { title }));
    const seen = async (): Promise<string | null | undefined> => (await inbox.next()).data?.notificationCreated.title;

    const subscribed = seen();
    await redis.open();
    await eventually(async () => (await readiness()).code === 200, 'readiness');
    await send('one');
    expect(await subscribed).toBe('one');

    const admin = await service.token({ tenant_id: 't', permissions: ['notif.read.log'] });
    const watching = liveClient(service.url, { token: admin });
    const deliveries = watching.subscribe(WatchDeliveriesDocument, {});
    await eventually(async () => {
      await postEvent(service, producer, 'signal.activity-notification', activityEvent('t', ['nobody']));
      return deliveries.pending.length > 0;
    }, 'the first delivery record');

    await redis.shut();
    await eventually(async () => (await readiness()).code === 503, 'the outage');
    await send('two');
    await send('three');
    await eventually(
      async () => (await sql(service.databaseUrl, `select 1 from notification where user_id = 'anna'`)).length === 3,
      'the notifications',
    );
    await redis.open();
    expect([await seen(), await seen()]).toEqual(['two', 'three']);

    // A feed without cursor cannot catch up. It ends with an error.
    const ended = eventually(async () =>
      deliveries.next().then(
        () => undefined,
        (error: unknown) => error,
      ),
    );
    expect(await ended).toMatchObject({ errors: [{ extensions: { error_code: 'unavailable' } }] });
    await live.close();
    await watching.close();
    await redis.shut();
  });

  it('is not ready while it has no keys to verify tokens', async () => {
    service = await startTestService({ JWKS_URL: 'http://127.0.0.1:1/jw-certs' });
    expect(await readiness()).toMatchObject({ code: 503, body: { missing: ['keys'] } });
  });

  it.each([
    ['GET', '/nothing'],
    ['PUT', '/graphql'],
  ])('answers 404 `not_found` for %s %s', async (method, path) => {
    service = await startTestService();
    const response = await fetch(`${service.url}${path}`, { method });
    expect({ status: response.status, body: await response.json() }).toEqual({
      status: 404,
      body: { error_code: 'not_found', message: `The server has no route ${method} ${path}.` },
    });
  });

  it('runs only the configured roles', async () => {
    service = await startTestService({ ROLES: 'dispatcher' });
    expect((await fetch(`${service.url}/healthz`)).status).toBe(200);
    expect((await fetch(`${service.url}/graphql`, { method: 'POST' })).status).toBe(404);
    expect((await fetch(`${service.url}/events`, { method: 'POST' })).status).toBe(404);
  });
});

describe('a warning of Node or a library', () => {
  it.each(['src/main.js', 'demo/dev.js'])(
    'is a line of the JSON log of %s, and nothing else is printed',
    async (script) => {
      const database = await testDatabase();
      const warn = 'setInterval(() => process.emitWarning("probe", "ProbeWarning"), 50).unref()';
      const child = spawnScript(script, {
        ENVIRONMENT: 'dev',
        SERVICE_PORT: '0',
        DATABASE_URL: database.loginUrl,
        DATABASE_OWNER_URL: database.url,
        DATA_PATH: await mkdtemp(join(tmpdir(), 'notification-warning-')),
        NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(warn)}`,
      });
      const exited = exitOf(child);
      const text = { stdout: '', stderr: '' };
      child.stdout?.on('data', (chunk: Buffer) => (text.stdout += chunk.toString()));
      child.stderr?.on('data', (chunk: Buffer) => (text.stderr += chunk.toString()));
      const logged = (): string[] =>
        text.stdout.split('\n').filter((line) => line.includes('"warning":"ProbeWarning"'));
      try {
        await eventually(() => logged().length > 0, 'the first warning');
        // Node prints warnings from before the log was created.
        text.stderr = '';
        const before = logged().length;
        await eventually(() => logged().length > before + 3, 'more warnings');
        expect(JSON.parse(logged()[0] as string)).toMatchObject({ level: 'warn', message: 'probe' });
        expect(text.stderr).toBe('');
      } finally {
        child.kill('SIGTERM');
        await exited;
        await database.drop();
      }
    },
  );
});

describe('a service that cannot start', () => {
  it('lists every problem of its configuration and exits with 1', async () => {
    const { code, stdout, stderr } = await outputOf(spawnScript('src/main.js', { SERVICE_PORT: 'x' }));
    expect(code).toBe(1);
    expect(stdout).toBe('');
    for (const name of ['SERVICE_PORT', 'DATABASE_URL', 'REDIS_URL', 'KAFKA_BROKERS', 'JWKS_URL']) {
      expect(stderr).toContain(name);
    }
  });

  it('reports that its port is in use', async () => {
    const service = await startTestService();
    try {
      const { port } = new URL(service.url);
      const { code, stderr } = await outputOf(
        spawnScript('src/main.js', { ...service.env, LOG_LEVEL: 'error', SERVICE_PORT: port }),
      );
      expect(code).toBe(1);
      expect(stderr).toBe(
        `Cannot start: Port ${port} of 127.0.0.1 is in use (EADDRINUSE). Set SERVICE_PORT to a free port.\n`,
      );
    } finally {
      await service.close();
    }
  });

  describe.each([
    ['the service', [], 'Cannot start: '],
    ['migrate', ['migrate'], ''],
    ['keys:rotate', ['keys:rotate'], ''],
    ['statistics:rebuild', ['statistics:rebuild'], ''],
    ['tenant:import', ['tenant:import', join(projectRoot, 'tenants', 'starter.yaml'), '--tenant', 'a'], ''],
    ['tenant:export', ['tenant:export', 'a'], ''],
  ])('%s', (_name, args, prefix) => {
    const DATA_KEYS = `k:${randomBytes(32).toString('base64')}`;
    const start = (env: Record<string, string>) =>
      outputOf(spawnScript('src/main.js', { ENVIRONMENT: 'dev', SERVICE_PORT: '0', DATA_KEYS, ...env }, args));

    it('names the server and DATABASE_URL when PostgreSQL cannot be reached, without the password', async () => {
      const port = await closedPort();
      expect(
        await start({ DATABASE_URL: `postgres://user:confidential@127.0.0.1:${port}/notification` }),
      ).toMatchObject({
        code: 1,
        stderr: `${prefix}PostgreSQL at 127.0.0.1:${port} cannot be reached (ECONNREFUSED). Check DATABASE_URL.\n`,
      });
    });

    it('names the server and DATABASE_URL when the database does not exist', async () => {
      const url = new URL(inject('databaseUrl'));
      url.pathname = '/missing';
      expect(await start({ DATABASE_URL: url.href })).toMatchObject({
        code: 1,
        stderr: `${prefix}PostgreSQL at ${url.hostname}:${url.port || 5432} refuses the connection: database "missing" does not exist. Check DATABASE_URL.\n`,
      });
    });
  });

  it('names DATABASE_OWNER_URL or DATABASE_URL, whichever of the two is wrong', async () => {
    const database = await testDatabase();
    const wrong = `postgres://user@127.0.0.1:${await closedPort()}/notification`;
    const env = { ENVIRONMENT: 'dev', SERVICE_PORT: '0' };
    try {
      const owner = { ...env, DATABASE_URL: database.loginUrl, DATABASE_OWNER_URL: wrong };
      const login = { ...env, DATABASE_URL: wrong, DATABASE_OWNER_URL: database.url };
      expect((await outputOf(spawnScript('src/main.js', owner))).stderr).toContain('Check DATABASE_OWNER_URL.');
      expect((await outputOf(spawnScript('src/main.js', login))).stderr).toContain('Check DATABASE_URL.');
    } finally {
      await database.drop();
    }
  });
});

/** Returns a port on which nothing listens. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
