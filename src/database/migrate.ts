import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { Migrator } from '@mikro-orm/migrations';
import { MikroORM, type Options } from '@mikro-orm/postgresql';
import pg from 'pg';

import { migrations } from '../../migrations/index.ts';
import { projectRoot } from '../project-root.ts';
import { entities } from './entities.ts';
import { OWNER_ROLE } from './row-level-security.ts';

/** Advisory lock that serialises instances that start at the same time. The number has no meaning. */
const MIGRATION_LOCK = 7_253_001;

/** Pause between two tries to get the lock, in milliseconds. */
const LOCK_POLL_MS = 200;

const INSUFFICIENT_PRIVILEGE = '42501';

/** MikroORM options for migrations: connects with `url` and sets the role that owns every table. */
export function ormOptions(url: string): Options {
  return {
    clientUrl: url,
    entities,
    extensions: [Migrator],
    pool: { min: 0, max: 2 },
    driverOptions: { options: `-c role=${OWNER_ROLE}` },
    // The functions that create and drop partitions exist in the migrations only.
    schemaGenerator: { ignoreRoutines: true },
    migrations: {
      migrationsList: migrations,
      snapshot: false,
      silent: true,
      path: join(projectRoot, 'migrations'),
      // Each migration commits by itself: some cannot run in a transaction, because they run beside a working service.
      allOrNothing: false,
    },
  };
}

/**
 * Creates the roles, if the login may, and runs every missing migration. Safe to call from many instances at once. A
 * login without these privileges succeeds when the database is up to date.
 *
 * @returns the names of the migrations that ran.
 * @throws when something is missing that the login may not create. The message says what a DBA has to do.
 */
export async function migrate(url: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await lock(client);
    if (!(await mayActAsOwner(client)) && !(await createRoles(client))) {
      if (await isUpToDate(client)) return [];
      throw new Error(
        'The database is not migrated, and its login may not do it. Set DATABASE_OWNER_URL, or have a DBA run ' +
          'migrations/roles.sql for this login.',
      );
    }
    const orm = await MikroORM.init(ormOptions(url));
    try {
      const done = await orm.migrator.up();
      return done.map((migration) => migration.name);
    } finally {
      await orm.close();
    }
  } finally {
    await client.end();
  }
}

/**
 * Waits for the lock without a statement that waits: its snapshot would block `create index concurrently` of the instance
 * that holds the lock.
 */
async function lock(client: pg.Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ locked: boolean }>('select pg_try_advisory_lock($1) as locked', [
      MIGRATION_LOCK,
    ]);
    if (rows[0]?.locked) return;
    await delay(LOCK_POLL_MS);
  }
}

async function mayActAsOwner(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ memberships: number }>(
    `select count(*)::int as memberships from pg_roles
     where rolname in ('notif_owner', 'notif_api', 'notif_worker') and pg_has_role(current_user, oid, 'member')`,
  );
  if (rows[0]?.memberships !== 3) return false;
  const privilege = await client.query<{ may: boolean }>(
    `select has_schema_privilege('notif_owner', 'public', 'create') as may`,
  );
  return privilege.rows[0]?.may === true;
}

/**
 * Runs `migrations/roles.sql` for the connected login, and for the login of the service if that is another one.
 *
 * @returns false when the login may not create roles.
 */
export async function createRoles(client: pg.Client, { login }: { login?: string } = {}): Promise<boolean> {
  const script = await readFile(join(projectRoot, 'migrations', 'roles.sql'), 'utf8');
  const names = {
    ':login': login === undefined ? 'current_user' : pg.escapeIdentifier(login),
    ':migrator': 'current_user',
  };
  try {
    await client.query(script.replaceAll(/:(?:login|migrator)\b/g, (name) => names[name as keyof typeof names]));
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === INSUFFICIENT_PRIVILEGE) return false;
    throw error;
  }
}

async function isUpToDate(client: pg.Client): Promise<boolean> {
  try {
    await client.query('begin; set local role notif_api');
    const { rows } = await client.query<{ name: string }>('select name from mikro_orm_migrations');
    const done = new Set(rows.map((row) => row.name));
    return migrations.every((migration) => done.has(migration.name));
  } catch {
    return false;
  } finally {
    await client.query('rollback');
  }
}
