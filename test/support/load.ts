import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { openDatabase } from '../../src/database/database.ts';
import { migrate } from '../../src/database/migrate.ts';
import { devIdentity } from '../../src/identity/dev-keys.ts';
import { createLog } from '../../src/log.ts';
import { createTemplates } from '../../src/templates/templates.ts';
import type { ChildService } from './child.ts';
import { sql } from './sql.ts';
import { createTestDatabase } from './template-database.ts';

export const LOAD_TENANT = 'tenant-load';

/** Common parts of the load tests: a database, a tenant with templates, and a producer. */
export interface LoadSetup {
  databaseUrl: string;
  /** Environment for {@link startChild}: the database, the keys, and settings that send nothing to other machines. */
  env: Record<string, string>;
  producerToken: string;
  close(): Promise<void>;
}

export async function setUpLoad(databaseServer: string, tenants: string[] = [LOAD_TENANT]): Promise<LoadSetup> {
  const database = await createTestDatabase(databaseServer);
  await migrate(database.url);
  const dataPath = await mkdtemp(join(tmpdir(), 'notification-load-'));
  await chmod(dataPath, 0o755);
  const opened = openDatabase({ url: database.url, log: createLog('silent') });
  const template = { eventCode: 'load.test', locale: 'en', subject: 'Hello {{name}}', body: '<p>Hello {{name}}</p>' };
  const templates = createTemplates({ database: opened, onChanged: () => {} });
  const texts = (['email', 'in_app', 'webhook'] as const).map((channel) => ({ ...template, channel }));
  for (const tenant of tenants) await templates.publish(tenant, texts, null);
  await opened.close();
  const identity = await devIdentity(dataPath);
  return {
    databaseUrl: database.url,
    env: {
      ENVIRONMENT: 'dev',
      DATABASE_URL: database.url,
      DATA_PATH: dataPath,
      DELIVERY_MODE: 'live',
      LOG_LEVEL: 'info',
    },
    producerToken: await identity.issueToken(
      { sub: 'load', tenant_id: LOAD_TENANT, permissions: ['notif.ingest'] },
      '2h',
    ),
    close: async () => {
      await database.drop();
      await rm(dataPath, { recursive: true, force: true });
    },
  };
}

/** Returns one event: an email, or an in-app notification for one of a hundred users. */
export function loadEvent(channel: 'email' | 'in_app', number: number): Record<string, unknown> {
  return {
    event_id: randomUUID(),
    tenant_id: LOAD_TENANT,
    event_code: 'load.test',
    channel,
    recipient: channel === 'email' ? `person-${number}@example.com` : `user-${number % 100}`,
    params: { name: `Person ${number}` },
    trace_id: `load-${number}`,
    created_at: new Date().toISOString(),
  };
}

/** Posts a batch like a producer: repeats it, to any running instance, until it gets 202. */
export async function postUntilAccepted(
  targets: () => Pick<ChildService, 'url'>[],
  token: string,
  events: Record<string, unknown>[],
): Promise<void> {
  const body = JSON.stringify(
    events.map((data) => ({
      specversion: '1.0',
      id: data['event_id'],
      source: '/load',
      type: 'notification.triggered.v1',
      data,
    })),
  );
  const headers = { 'content-type': 'application/cloudevents-batch+json', authorization: `Bearer ${token}` };
  for (let tries = 0; ; tries += 1) {
    const alive = targets();
    const target = alive[tries % Math.max(1, alive.length)];
    try {
      if (!target) throw new Error('no instance is running');
      const response = await fetch(`${target.url}/events`, {
        method: 'POST',
        headers,
        body,
        signal: AbortSignal.timeout(10_000),
      });
      if (response.status === 202) return;
    } catch {
      // A killed process does not answer.
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export interface Tally {
  rows: number;
  open: number;
  sent: number;
  inDoubt: number;
  unknownAttempts: number;
  inboxRows: number;
}

/** Returns the numbers of events by state from the database. */
export async function tally(databaseUrl: string): Promise<Tally> {
  const [row] = await sql<Tally>(
    databaseUrl,
    `select (select count(*)::int from notification_log) as rows,
       (select count(*)::int from notification_log where status in ('queued', 'sending', 'retrying')) as open,
       (select count(*)::int from notification_log where status in ('sent', 'sent_fallback')) as sent,
       (select count(*)::int from notification_log where error_code = 'delivery_unknown') as "inDoubt",
       (select count(*)::int from delivery_attempt where outcome = 'unknown') as "unknownAttempts",
       (select count(*)::int from notification) as "inboxRows"`,
  );
  if (!row) throw new Error('the database returned no row');
  return row;
}
