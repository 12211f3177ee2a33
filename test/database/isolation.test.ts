import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Database, openDatabase } from '../../src/database/database.ts';
import { entities } from '../../src/database/entities.ts';
import { createLog } from '../../src/log.ts';
import { testDatabase } from '../support/service.ts';
import { sql } from '../support/sql.ts';
import type { TestDatabase } from '../support/template-database.ts';

describe('tenant isolation', () => {
  let files: TestDatabase;
  let database: Database;

  beforeAll(async () => {
    files = await testDatabase();
    database = openDatabase({ url: files.loginUrl, log: createLog('silent'), poolSize: 2 });
    await sql(
      files.url,
      `insert into inbox (tenant_id, user_id, last_seq, unread_count)
       select 'tenant-' || n, 'user', n, n from generate_series(0, 99) n`,
    );
  });
  afterAll(async () => {
    await database.close();
    await files.drop();
  });

  it('forces row-level security with a policy for the API role on every tenant table', async () => {
    const tables = await sql<{ name: string; enabled: boolean; forced: boolean; isolated: boolean }>(
      files.url,
      `select c.relname as name, c.relrowsecurity as enabled, c.relforcerowsecurity as forced,
              exists (select from pg_policies p where p.tablename = c.relname and 'notif_api' = any(p.roles)
                      and p.qual like '%app.tenant_id%' and p.with_check like '%app.tenant_id%') as isolated
       from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
       where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = 'public'::regnamespace`,
    );
    // Live instances and the position of the audit relay belong to no tenant.
    const shared = new Set(['audit_relay', 'dispatcher_instance', 'live_instance']);
    expect(tables.map((table) => table.name).toSorted()).toEqual(
      entities
        .map((entity) => entity.meta.tableName)
        .filter((name) => !shared.has(name))
        .toSorted(),
    );
    expect(tables.filter((table) => !(table.enabled && table.forced && table.isolated))).toEqual([]);
  });

  it('gives no role access to a partition except through its table', async () => {
    const partitions = await sql<{ name: string; forced: boolean; grants: number }>(
      files.url,
      `select c.relname as name, c.relrowsecurity and c.relforcerowsecurity as forced,
              (select count(*)::int from information_schema.column_privileges p
               where p.table_name = c.relname and p.grantee in ('notif_api', 'notif_worker', 'PUBLIC')) as grants
       from pg_class c where c.relkind = 'r' and c.relispartition and c.relnamespace = 'public'::regnamespace`,
    );
    expect(partitions.length).toBeGreaterThanOrEqual(8);
    expect(partitions.filter(({ forced, grants }) => !forced || grants > 0)).toEqual([]);
  });

  it('cannot be bypassed by a role: none is superuser, has bypassrls, owns a table or may change audit events', async () => {
    const roles = await sql(
      files.url,
      `select rolname, rolsuper, rolbypassrls, rolcanlogin,
              (select count(*)::int from pg_class c where c.relowner = r.oid) as owned
       from pg_roles r where rolname in ('notif_api', 'notif_worker') order by 1`,
    );
    const harmless = { rolsuper: false, rolbypassrls: false, rolcanlogin: false, owned: 0 };
    expect(roles).toEqual([
      { rolname: 'notif_api', ...harmless },
      { rolname: 'notif_worker', ...harmless },
    ]);
    const rewriters = await sql(
      files.url,
      `select grantee from information_schema.table_privileges where table_name = 'audit_event'
       and grantee in ('notif_api', 'notif_worker') and privilege_type in ('UPDATE', 'DELETE', 'TRUNCATE')`,
    );
    expect(rewriters).toEqual([]);
  });

  it('shows rows of one tenant to SQL without WHERE', async () => {
    const rows = await database.asTenant('tenant-7', (tx) => tx.query('select tenant_id from inbox'));
    expect(rows).toEqual([{ tenant_id: 'tenant-7' }]);
  });

  it('shows no rows when no tenant is set', async () => {
    const client = new pg.Client({ connectionString: files.url });
    await client.connect();
    try {
      await client.query('begin; set local role notif_api');
      expect((await client.query('select * from inbox')).rows).toEqual([]);
      await client.query(`select set_config('app.tenant_id', '', true)`);
      expect((await client.query('select * from inbox')).rows).toEqual([]);
    } finally {
      await client.end();
    }
  });

  it('refuses to write rows of another tenant', async () => {
    const insert = `insert into policy_definition (id, tenant_id, user_id, role, scope, scope_id)
      values (gen_random_uuid(), 'tenant-8', 'u', 'owner', 'merchant', 'm')`;
    await expect(database.asTenant('tenant-7', (tx) => tx.query(insert))).rejects.toThrow(/row-level security/);
    const moved = database.asTenant('tenant-7', (tx) => tx.query(`update inbox set tenant_id = 'tenant-8'`));
    await expect(moved).rejects.toThrow(/row-level security|permission denied/);
    const others = await database.asTenant('tenant-7', (tx) =>
      tx.query(`update inbox set unread_count = 0 where tenant_id = 'tenant-8' returning 1`),
    );
    expect(others).toEqual([]);
  });

  it('never executes the content of a tenant id as SQL', async () => {
    const hostile = `x', true); reset role; select set_config('app.tenant_id', 'tenant-7`;
    expect(await database.asTenant(hostile, (tx) => tx.query('select * from inbox'))).toEqual([]);
    await expect(database.asTenant('nul\0', (tx) => tx.query('select 1'))).rejects.toMatchObject({
      code: expect.any(String),
    });
  });

  it('returns no row of another tenant when 100 tenants share 2 connections', async () => {
    const seen = await Promise.all(
      Array.from({ length: 400 }, async (_unused, index) => {
        const tenantId = `tenant-${index % 100}`;
        const rows = await database.asTenant(tenantId, async (tx) => {
          await tx.query('select pg_sleep(0.001)');
          return tx.query<{ tenant_id: string }>('select tenant_id from inbox');
        });
        return rows.length === 1 && rows[0]?.tenant_id === tenantId;
      }),
    );
    expect(seen.filter((isOwn) => !isOwn)).toEqual([]);
  });

  it('runs combined reads with the tenant of each, and a failed read does not affect the others', async () => {
    const read = (tenantId: string): Promise<unknown[]> =>
      database.readAsTenant(tenantId, 'select tenant_id, $1::text as asked from inbox', [tenantId]);
    const tenants = Array.from({ length: 100 }, (_unused, index) => `tenant-${index % 3}`);
    const answers = await Promise.allSettled([...tenants.map(read), database.readAsTenant('tenant-1', 'select 1/0')]);
    expect(answers.slice(0, -1)).toEqual(
      tenants.map((tenantId) => ({ status: 'fulfilled', value: [{ tenant_id: tenantId, asked: tenantId }] })),
    );
    expect(answers.at(-1)).toMatchObject({ status: 'rejected', reason: { message: 'division by zero' } });
  });

  it('leaves no tenant set on the connection', async () => {
    await database.asTenant('tenant-7', (tx) => tx.query('select 1'));
    await expect(database.asTenant('tenant-7', (tx) => tx.query('select * from no_such_table'))).rejects.toThrow(
      /no_such_table/,
    );
    const rows = await database.asTenant('tenant-9', (tx) =>
      tx.query(`select current_user::text as role, current_setting('app.tenant_id') as tenant`),
    );
    expect(rows).toEqual([{ role: 'notif_api', tenant: 'tenant-9' }]);
  });

  it('denies the worker role access to tables that it does not need', async () => {
    const rewrite = database.asWorker((tx) => tx.query(`update notification_template_version set body = ''`));
    await expect(rewrite).rejects.toThrow(/permission denied/);
    const forge = database.asWorker((tx) => tx.query(`update audit_event set actor_id = 'somebody else'`));
    await expect(forge).rejects.toThrow(/permission denied/);
  });
});
