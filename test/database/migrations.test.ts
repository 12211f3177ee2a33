import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { MikroORM } from '@mikro-orm/postgresql';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';

import { migrations } from '../../migrations/index.ts';
import { type EmbeddedDatabase, startEmbeddedDatabase } from '../../src/database/embedded.ts';
import { openDatabase } from '../../src/database/database.ts';
import { migrate, ormOptions } from '../../src/database/migrate.ts';
import { rebuildStatistics } from '../../src/delivery/statistics-rebuild.ts';
import { createLog } from '../../src/log.ts';
import { sql } from '../support/sql.ts';
import { createTestDatabase, type TestDatabase } from '../support/template-database.ts';

const tablesOf = async (url: string): Promise<string[]> =>
  (
    await sql<{ name: string }>(
      url,
      `select tablename as name from pg_tables where schemaname = 'public' and tablename <> 'mikro_orm_migrations'`,
    )
  ).map((row) => row.name);

/** Runs on the PostgreSQL of the tests and on the embedded PostgreSQL 18. */
function migrationSuite(urlOf: () => string): void {
  it('run on an empty database, and do nothing the second time', async () => {
    expect(await migrate(urlOf())).toEqual(migrations.map((migration) => migration.name));
    expect(await migrate(urlOf())).toEqual([]);
  });

  it('create exactly the schema that the entities declare, including policies', async () => {
    const orm = await MikroORM.init(ormOptions(urlOf()));
    try {
      expect((await orm.schema.getUpdateSchemaSQL()).trim()).toBe('');
    } finally {
      await orm.close();
    }
  });

  it('run down and up again', async () => {
    const orm = await MikroORM.init(ormOptions(urlOf()));
    try {
      await orm.migrator.down({ to: 0 });
      expect(await tablesOf(urlOf())).toEqual([]);
      await orm.migrator.up();
      expect(await tablesOf(urlOf())).toContain('notification_log');
      expect((await orm.schema.getUpdateSchemaSQL()).trim()).toBe('');
    } finally {
      await orm.close();
    }
  });
}

describe('the migration template-revision', () => {
  it('numbers the existing versions', async () => {
    const database = await createTestDatabase(inject('databaseUrl'));
    const orm = await MikroORM.init(ormOptions(database.url));
    try {
      await migrate(database.url);
      await orm.migrator.down({ to: '20261126125000-email' });
      await sql(
        database.url,
        `with template as (
           insert into notification_template (id, tenant_id, event_code, channel, locale)
           values (gen_random_uuid(), 'tenant-1', 'order.paid', 'sms', 'en') returning id, tenant_id
         )
         insert into notification_template_version (template_id, version, tenant_id, body)
         select id, version, tenant_id, 'text' from template, generate_series(1, 3) version`,
      );
      await orm.migrator.up();
      expect(await sql(database.url, 'select revision from notification_template')).toEqual([{ revision: 3 }]);
    } finally {
      await orm.close();
      await database.drop();
    }
  });
});

describe('the migration delivery-statistics', () => {
  it('fills the statistics from the existing records, as a rebuild does', async () => {
    const files = await createTestDatabase(inject('databaseUrl'));
    const orm = await MikroORM.init(ormOptions(files.url));
    const database = openDatabase({ url: files.url, log: createLog('silent') });
    try {
      await migrate(files.url);
      await orm.migrator.down({ to: '20261130030000-erasure-progress' });
      await sql(
        files.url,
        `insert into notification_log (id, tenant_id, event_id, event_type, event_code, is_test, channels, channel, recipient,
           params, status, template_id, created_at, scheduled_at, sent_at, trace_id, event_created_at)
         select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid,
           'tenant-' || n % 3, gen_random_uuid(), 'notification.triggered.v2', 'code-' || n % 2, n % 11 = 0, '{email}',
           case when n % 7 > 0 then 'email' end, '{}', '{}', case n % 5 when 0 then 'failed' when 1 then 'queued' else 'sent' end,
           case when n % 4 > 0 then gen_random_uuid() end, at, at,
           case when n % 5 > 1 then at + (n * n) * interval '1 millisecond' end, 'trace', at
         from generate_series(1, 300) n, lateral (select timestamptz '2026-10-01' + n * interval '20 minutes' as at) moment`,
      );
      await orm.migrator.up();
      const rows = 'select * from delivery_statistic order by 1, 2, 3, 4, 5, 6, 7, 8';
      const filled = await sql(files.url, rows);
      const { notifications } = await rebuildStatistics(database);
      expect(notifications).toBeGreaterThan(200);
      expect(filled).toEqual(await sql(files.url, rows));
    } finally {
      await database.close();
      await orm.close();
      await files.drop();
    }
  });
});

describe('migrations on a PostgreSQL server', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase(inject('databaseUrl'));
  });
  afterAll(() => database.drop());

  migrationSuite(() => database.url);

  it('run one after another when several instances start at once', async () => {
    const other = await createTestDatabase(inject('databaseUrl'));
    try {
      const ran = await Promise.all(Array.from({ length: 4 }, () => migrate(other.url)));
      expect(ran.flat()).toEqual(migrations.map((migration) => migration.name));
    } finally {
      await other.drop();
    }
  });

  it('succeed for a database user without privileges if the schema is up to date, and otherwise report how to grant them', async () => {
    const login = `notif_test_login_${process.pid}`;
    const loginUrl = new URL(database.url);
    loginUrl.username = login;
    loginUrl.password = 'x';
    const fresh = await createTestDatabase(inject('databaseUrl'));
    const freshUrl = new URL(fresh.url);
    freshUrl.username = login;
    freshUrl.password = 'x';
    await sql(database.url, `create role ${login} login password 'x'; grant notif_api, notif_worker to ${login}`);
    try {
      expect(await migrate(loginUrl.href)).toEqual([]);
      await expect(migrate(freshUrl.href)).rejects.toThrow(/DATABASE_OWNER_URL.*roles\.sql/s);
    } finally {
      await fresh.drop();
      await sql(database.url, `drop owned by ${login}; drop role ${login}`);
    }
  });
});

describe('migrations on the embedded PostgreSQL', () => {
  let server: EmbeddedDatabase;
  let dataPath: string;
  beforeAll(async () => {
    dataPath = await mkdtemp(join(tmpdir(), 'notification-embedded-'));
    await chmod(dataPath, 0o755);
    server = await startEmbeddedDatabase({ dataPath, log: createLog('silent') });
  });
  afterAll(async () => {
    await server.stop();
    await rm(dataPath, { recursive: true, force: true });
  });

  migrationSuite(() => server.ownerUrl);

  it('runs PostgreSQL 18 and keeps its data over a restart', async () => {
    expect(await sql(server.ownerUrl, `select current_setting('server_version_num')::int / 10000 as major`)).toEqual([
      { major: 18 },
    ]);
    await server.stop();
    server = await startEmbeddedDatabase({ dataPath, log: createLog('silent') });
    expect(await tablesOf(server.ownerUrl)).toContain('notification_log');
  });

  it('gives the service a database user that owns nothing and sees nothing without a role', async () => {
    await migrate(server.ownerUrl);
    expect(
      await sql(
        server.url,
        `select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolinherit,
                (select count(*)::int from pg_class where relowner = pg_roles.oid) as owned
         from pg_roles where rolname = current_user`,
      ),
    ).toEqual([
      { rolsuper: false, rolbypassrls: false, rolcreaterole: false, rolcreatedb: false, rolinherit: false, owned: 0 },
    ]);
    await expect(sql(server.url, 'select * from inbox')).rejects.toThrow(/permission denied/);
    const database = openDatabase({ url: server.url, log: createLog('silent') });
    expect(await database.asTenant('tenant-1', (tx) => tx.query('select * from inbox'))).toEqual([]);
    await database.close();
  });

  it('refuses a second server in the same folder', async () => {
    await expect(startEmbeddedDatabase({ dataPath, log: createLog('silent') })).rejects.toThrow(/DATA_PATH/);
    expect(await tablesOf(server.ownerUrl)).toContain('notification_log');
  });

  it('listens on localhost only and requires a password', async () => {
    const url = new URL(server.ownerUrl);
    expect(url.hostname).toBe('127.0.0.1');
    url.password = 'wrong';
    const client = new pg.Client({ connectionString: url.href });
    await expect(client.connect()).rejects.toMatchObject({ code: '28P01' });
  });
});
