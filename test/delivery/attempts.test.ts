import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Database, openDatabase } from '../../src/database/database.ts';
import { createAttemptOpener, type Opening } from '../../src/delivery/attempts.ts';
import { claimDue, type ClaimedLog } from '../../src/delivery/claim.ts';
import { newId } from '../../src/ids.ts';
import { createLog } from '../../src/log.ts';
import { DeliveryLogDocument } from '../generated/operations.ts';
import { query } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { postEvent, startTestService, testDatabase, WELCOME_TEMPLATE, welcomeEvent } from '../support/service.ts';
import { sql } from '../support/sql.ts';
import type { TestDatabase } from '../support/template-database.ts';

const TENANT = 'tenant-attempts';
const ROWS = 60;

describe('the opener of attempts', () => {
  let files: TestDatabase;
  let database: Database;
  let rows: ClaimedLog[];
  beforeAll(async () => {
    files = await testDatabase();
    database = openDatabase({ url: files.loginUrl, log: createLog('silent'), poolSize: 4 });
    await sql(
      files.url,
      `insert into notification_log (id, tenant_id, event_id, event_type, event_code, channels, recipient, params,
         status, trace_id, event_created_at)
       select gen_random_uuid(), '${TENANT}', gen_random_uuid(), 'notification.triggered.v1', 'user.welcome', '{email}',
         '{"email": "anna@example.com"}', '{}', 'queued', 'trace', now() from generate_series(1, ${ROWS})`,
    );
    const request = {
      owner: newId(),
      limit: ROWS,
      leaseMs: 60_000,
      after: '',
      capacity: new Map(),
      defaultCapacity: ROWS,
    };
    ({ rows } = await claimDue(database, request));
  });
  afterAll(async () => {
    await database.close();
    await files.drop();
  });

  it('opens those that have started, and at most half as many that are next', async () => {
    const attempts = createAttemptOpener(database);
    const openings = rows.map((log) =>
      attempts.open({ log, channel: 'email', provider: 'smtp', route: ['email'], step: 0, deduplicates: false }),
    );
    const count = async (): Promise<number> => {
      const [row] = await sql<{ n: number }>(files.url, 'select count(*)::int as n from delivery_attempt');
      return row?.n ?? 0;
    };
    const start = async (opening: Opening | undefined): Promise<void> => {
      opening?.start();
      expect(await opening?.isHeld).toBe(true);
    };
    // The first is opened although nothing has started, because a single message could not be sent otherwise.
    expect(await openings[0]?.isHeld).toBe(true);
    expect(await count()).toBe(1);

    // Started from the end, so that those at the front are next.
    for (const [index, opening] of openings.slice(-20).entries()) {
      await start(opening);
      const started = index + 1;
      const open = await count();
      expect(open).toBeGreaterThanOrEqual(started);
      expect(open).toBeLessThanOrEqual(started + Math.max(1, started / 2));
    }
    await Promise.all(openings.slice(0, 10).map(({ isHeld }) => isHeld));
    expect(await count()).toBe(30);

    // With fewer in transfer, no others are opened until those that are next have started.
    for (const log of rows.slice(-10)) attempts.settle(log);
    await Promise.all(openings.slice(0, 5).map(start));
    expect(await count()).toBeLessThanOrEqual(30 + 2);
    for (const log of rows) attempts.settle(log);
    expect(await Promise.all(openings.slice(20, 30).map(({ isHeld }) => isHeld))).toContain(false);
  });
});

describe('a delivery that fails before its provider begins to take the message', () => {
  it('is recorded with its outcome, and no attempt is open at any time', async () => {
    const service = await startTestService({
      DELIVERY_MODE: 'live',
      SMTP_PROVIDER_SECRET: 'smtp://127.0.0.1:1?from=no-reply@vas.example',
    });
    await service.core.templates.publish(TENANT, [WELCOME_TEMPLATE], null);
    await sql(
      service.databaseUrl,
      `create function refuse_open() returns trigger language plpgsql as $$
         begin raise exception 'an attempt was opened'; end $$;
       create trigger refuse_open before insert on delivery_attempt for each row when (new.outcome is null)
         execute function refuse_open()`,
    );
    const producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
    const admin = await service.token({ tenant_id: TENANT, permissions: ['notif.read.log', 'notif.read.template'] });
    const { body } = await postEvent(service, producer, 'notification.triggered.v1', welcomeEvent(TENANT));
    const id = body.results[0]?.log_id as string;
    const log = await eventually(async () => {
      const { notificationLog } = await query(service.url, admin, DeliveryLogDocument, { id });
      return notificationLog?.status === 'RETRYING' && notificationLog;
    }, 'the first attempt');
    expect(log.attempts).toMatchObject([
      { number: 1, channel: 'EMAIL', provider: 'smtp', outcome: 'TRANSIENT', errorCode: 'smtp_econnrefused' },
    ]);
    const [row] = await sql(
      service.databaseUrl,
      'select route, step, step_attempts from notification_log where id = $1',
      [id],
    );
    expect(row).toEqual({ route: ['email'], step: 0, step_attempts: 1 });
    await service.close();
  });
});
