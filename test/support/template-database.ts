import { randomBytes } from 'node:crypto';

import pg from 'pg';

import { migrate } from '../../src/database/migrate.ts';

export interface TestDatabase {
  url: string;
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

function withDatabase(databaseUrl: string, name: string): string {
  const url = new URL(databaseUrl);
  url.pathname = `/${name}`;
  return url.href;
}

/** Migrates one database that the suites then copy: a copy takes a fraction of what migrating takes. */
export async function createTemplateDatabase(
  databaseUrl: string,
): Promise<{ templateName: string; drop(): Promise<void> }> {
  const templateName = `notif_template_${randomBytes(6).toString('hex')}`;
  await asAdmin(databaseUrl, `create database ${templateName}`);
  await migrate(withDatabase(databaseUrl, templateName));
  return { templateName, drop: () => asAdmin(databaseUrl, `drop database if exists ${templateName} with (force)`) };
}

/** A database of its own, copied from `templateName`, or an empty one. */
export async function createTestDatabase(databaseUrl: string, templateName?: string): Promise<TestDatabase> {
  const name = `notif_test_${randomBytes(6).toString('hex')}`;
  await asAdmin(databaseUrl, `create database ${name}${templateName ? ` template ${templateName}` : ''}`);
  return {
    url: withDatabase(databaseUrl, name),
    drop: () => asAdmin(databaseUrl, `drop database if exists ${name} with (force)`),
  };
}
