import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { type Database, openDatabase } from '../../src/database/database.ts';
import { claimDue, type ClaimRequest } from '../../src/delivery/claim.ts';
import { newId } from '../../src/ids.ts';
import { createLog } from '../../src/log.ts';
import { testDatabase } from '../support/service.ts';
import { sql } from '../support/sql.ts';
import type { TestDatabase } from '../support/template-database.ts';

describe('claimDue', () => {
  let files: TestDatabase;
  let database: Database;
  beforeAll(async () => {
    files = await testDatabase();
    database = openDatabase({ url: files.loginUrl, log: createLog('silent'), poolSize: 4 });
  });
  afterAll(async () => {
    await database.close();
    await files.drop();
  });
  beforeEach(() => sql(files.url, 'delete from notification_log'));

  const fill = (tenants: number, rowsOfEach: number) =>
    sql(
      files.url,
      `insert into notification_log (id, tenant_id, event_id, event_type, event_code, channels, recipient, params,
         status, trace_id, event_created_at)
       select gen_random_uuid(), 'tenant-' || lpad(tenant::text, 3, '0'), gen_random_uuid(), 'notification.triggered.v1',
         'user.welcome', '{email}', '{"email": "anna@example.com"}', '{}', 'queued', 'trace', now()
       from generate_series(1, ${tenants}) tenant, generate_series(1, ${rowsOfEach})`,
    );
  const claim = (changes: Partial<ClaimRequest>) =>
    claimDue(database, {
      owner: newId(),
      limit: 50,
      leaseMs: 60_000,
      after: '',
      capacity: new Map(),
      defaultCapacity: 1_000,
      ...changes,
    });
  const sizes = (rows: { tenantId: string }[]): number[] =>
    [...Map.groupBy(rows, ({ tenantId }) => tenantId).values()].map((group) => group.length);

  it.each([
    { tenants: 100, rowsOfEach: 3 },
    { tenants: 30, rowsOfEach: 10 },
    { tenants: 7, rowsOfEach: 40 },
    { tenants: 1, rowsOfEach: 200 },
  ])('returns at most `limit` rows of $tenants tenants, shared evenly', async ({ tenants, rowsOfEach }) => {
    await fill(tenants, rowsOfEach);
    const { rows } = await claim({ limit: 50 });
    expect(rows).toHaveLength(50);
    const each = sizes(rows);
    expect(Math.max(...each) - Math.min(...each)).toBeLessThanOrEqual(1);
  });

  it('reaches every tenant in turn when there are more tenants than rows', async () => {
    await fill(120, 1);
    const seen = new Set<string>();
    let after = '';
    for (let round = 0; round < 4; round += 1) {
      const claimed = await claim({ limit: 50, after });
      expect(claimed.rows.length).toBeLessThanOrEqual(50);
      for (const { tenantId } of claimed.rows) seen.add(tenantId);
      after = claimed.after;
      if (after === '') break;
    }
    expect(seen.size).toBe(120);
    expect(after).toBe('');
  });

  it('respects the capacity of each tenant', async () => {
    await fill(3, 50);
    const capacity = new Map([
      ['tenant-001', 0],
      ['tenant-002', 5],
    ]);
    const { rows } = await claim({ limit: 60, capacity });
    expect(sizes(rows.filter(({ tenantId }) => tenantId === 'tenant-001'))).toEqual([]);
    expect(sizes(rows.filter(({ tenantId }) => tenantId === 'tenant-002'))).toEqual([5]);
    expect(rows.length).toBeLessThanOrEqual(60);
  });
});
