import { randomBytes } from 'node:crypto';

import pg from 'pg';

import { migrate } from '../../src/database/migrate.ts';

export interface TestDatabase {
  /** URL of the server's superuser. */
  url: string;
  /** URL of a database user that owns nothing, as the service should have. */
  loginUrl: string;
  drop(): Promise<void>;
}

async function asAdmin(databaseUrl: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

const LOGIN = 'notif_test_login';

function withDatabase(databaseUrl: string, name: string): string {
  const url = new URL(databaseUrl);
  url.pathname = `/${name}`;
  return url.href;
}

function asLogin(databaseUrl: string): string {
  const url = new URL(databaseUrl);
  url.username = LOGIN;
  url.password = LOGIN;
  return url.href;
}

/** Migrates one database that the suites copy, because copying is much faster than migrating. */
export async function createTemplateDatabase(
  databaseUrl: string,
): Promise<{ templateName: string; drop(): Promise<void> }> {
  const templateName = `notif_template_${randomBytes(6).toString('hex')}`;
  await asAdmin(databaseUrl, `create database ${templateName}`);
  await migrate(withDatabase(databaseUrl, templateName));
  await asAdmin(
    databaseUrl,
    `do $$ begin create role ${LOGIN} login noinherit password '${LOGIN}';
     exception when duplicate_object or unique_violation then null; end $$;
     grant notif_api, notif_worker to ${LOGIN}`,
  );
  return { templateName, drop: () => asAdmin(databaseUrl, `drop database if exists ${templateName} with (force)`) };
}

/** Creates a database: a copy of `templateName`, or an empty one. */
export async function createTestDatabase(databaseUrl: string, templateName?: string): Promise<TestDatabase> {
  const name = `notif_test_${randomBytes(6).toString('hex')}`;
  await asAdmin(databaseUrl, `create database ${name}${templateName ? ` template ${templateName}` : ''}`);
  const url = withDatabase(databaseUrl, name);
  return {
    url,
    loginUrl: asLogin(url),
    drop: () => asAdmin(databaseUrl, `drop database if exists ${name} with (force)`),
  };
}
