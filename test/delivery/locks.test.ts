import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Database, openDatabase } from '../../src/database/database.ts';
import { type AttemptOpener, createAttemptOpener } from '../../src/delivery/attempts.ts';
import { claimDue, type ClaimedLog, renewLeases } from '../../src/delivery/claim.ts';
import { type Settlement, settleBatch } from '../../src/delivery/settle.ts';
import { newId } from '../../src/ids.ts';
import { createKeyring } from '../../src/keyring.ts';
import { createLog } from '../../src/log.ts';
import { eraseNext } from '../../src/privacy/erase.ts';
import { applyRetention } from '../../src/privacy/retention.ts';
import { noTenantFiles } from '../../src/tenants/files.ts';
import { createTenantSettings } from '../../src/tenants/settings.ts';
import { testDatabase } from '../support/service.ts';
import { sql } from '../support/sql.ts';
import type { TestDatabase } from '../support/template-database.ts';

const TENANT = 'tenant-locks';
const ROWS = 400;
const ROUNDS = 25;

describe('settling, renewing, opening, claiming, retention and erasure at the same time', () => {
  let files: TestDatabase;
  let database: Database;
  beforeAll(async () => {
    files = await testDatabase();
    database = openDatabase({ url: files.loginUrl, log: createLog('silent'), poolSize: 8 });
    await sql(
      files.url,
      `insert into notification_log (id, tenant_id, event_id, event_type, event_code, channels, recipient, params,
         status, trace_id, event_created_at)
       select gen_random_uuid(), '${TENANT}', gen_random_uuid(), 'notification.triggered.v1', 'user.welcome', '{email}',
         '{"email": "anna@example.com", "user_id": "anna"}', '{}', 'queued', 'trace', now()
       from generate_series(1, ${ROWS})`,
    );
  });
  afterAll(async () => {
    await database.close();
    await files.drop();
  });

  it('causes no deadlock, although each names the rows in another order', async () => {
    const settings = createTenantSettings({
      database,
      files: noTenantFiles,
      defaults: { defaultLocale: 'en', channels: {} },
      onChanged: () => {},
    });
    const keyring = createKeyring([]);
    const attempts = createAttemptOpener(database);
    const claim = () =>
      claimDue(database, {
        owner: newId(),
        limit: ROWS,
        leaseMs: 60_000,
        after: '',
        capacity: new Map(),
        defaultCapacity: ROWS,
      });
    const requeue = (log: ClaimedLog): Settlement => ({ log, status: 'retrying', retryInMs: 0 });
    const toInbox = (log: ClaimedLog): Settlement => ({
      ...requeue(log),
      inbox: {
        logId: log.id,
        leaseToken: log.leaseToken,
        tenantId: TENANT,
        audience: { scope: 'users', userIds: ['anna', `user-${log.id.slice(0, 1)}`] },
        content: { type: 'load', title: 'load', body: 'load' },
        category: null,
        consent: 'not_needed',
      },
    });

    const failures: unknown[] = [];
    const run = async (work: Promise<unknown>): Promise<void> => {
      await work.catch((error: unknown) => failures.push(error));
    };
    for (let round = 0; round < ROUNDS; round += 1) {
      const { rows } = await claim();
      expect(rows).toHaveLength(ROWS);
      await sql(
        files.url,
        `insert into erasure (id, tenant_id, user_id, requested_by, trace_id)
         values (gen_random_uuid(), '${TENANT}', 'gone', 'admin', 'trace')`,
      );
      const half = ROWS / 2;
      const first = rows.toSorted((a, b) => (a.id < b.id ? 1 : -1));
      const second = rows.toSorted((a, b) => (a.leaseToken + a.eventId < b.leaseToken + b.eventId ? 1 : -1));
      await Promise.all([
        ...rows.slice(0, 20).map((log) => run(openAndStart(attempts, log))),
        run(renewLeases(database, second, 60_000)),
        run(settleBatch({ database, settings, keyring }, first.slice(0, half).map(requeue))),
        run(renewLeases(database, rows, 60_000)),
        run(settleBatch({ database, settings, keyring }, first.slice(half).map(toInbox))),
        run(renewLeases(database, first, 60_000)),
        run(claim()),
        run(applyRetention({ database, settings, isStopped: () => false })),
        run(eraseNext(database)),
      ]);
      await sql(
        files.url,
        `update notification_log set status = 'retrying', due_at = now(),
           audience = '{"scope": "users", "userIds": ["gone", "anna"]}'`,
      );
    }
    expect(failures).toEqual([]);
  });
});

function openAndStart(attempts: AttemptOpener, log: ClaimedLog): Promise<boolean> {
  const opening = attempts.open({
    log,
    channel: 'email',
    provider: 'smtp',
    route: ['email'],
    step: 0,
    deduplicates: false,
  });
  opening.start();
  return opening.isHeld;
}
