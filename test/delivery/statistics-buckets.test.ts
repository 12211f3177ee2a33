import fc from 'fast-check';
import { describe, expect, inject, it } from 'vitest';

import { BUCKET, bucketValue, percentiles } from '../../src/delivery/statistics-buckets.ts';
import { sql } from '../support/sql.ts';

/** The row of `notification_log` that `BUCKET` reads, for each latency in $1. */
const ROWS = `(select now() as created_at, now() - interval '1 hour' as scheduled_at,
    now() + ms * interval '1 millisecond' as sent_at, ms
  from unnest($1::float8[]) as ms) as log`;

const DAY_MS = 86_400_000;
/** Latencies from 1 ms to 100 days, evenly spread over the orders of magnitude. */
const latency = fc.double({ min: 0, max: Math.log(100 * DAY_MS), noNaN: true }).map(Math.exp);

describe('a latency bucket', () => {
  it('has a value that differs by at most 10 % from each of its latencies', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(latency, { minLength: 500, maxLength: 1_000 }), async (latencies) => {
        const rows = await sql<{ ms: number; bucket: number }>(
          inject('databaseUrl'),
          `select ms, ${BUCKET} as bucket from ${ROWS}`,
          [latencies],
        );
        expect(rows.filter(({ ms, bucket }) => Math.abs(bucketValue(bucket) / ms - 1) > 0.1)).toEqual([]);
      }),
      { numRuns: 10 },
    );
  });

  it.each([
    ['below 1 ms', 0.9, 0],
    ['before the due time', -5, 0],
    ['of 1 ms', 1, 1],
    ['of a thousand years', 1_000 * 365 * DAY_MS, 150],
  ])('for a latency %s is %s ms: %i', async (_what, ms, bucket) => {
    expect(await sql(inject('databaseUrl'), `select ${BUCKET} as bucket from ${ROWS}`, [[ms]])).toEqual([{ bucket }]);
  });

  it('counts from the acceptance or the planned time, whichever is later, and is -1 without sending', async () => {
    const rows = await sql(
      inject('databaseUrl'),
      `select ${BUCKET} as bucket from (values
         (timestamptz '2026-01-01 00:00', timestamptz '2026-01-01 01:00', timestamptz '2026-01-01 01:00'),
         ('2026-01-01 01:00', '2026-01-01 00:00', '2026-01-01 01:00'), ('2026-01-01', '2026-01-01', null)
       ) as log (created_at, scheduled_at, sent_at)`,
    );
    expect(rows).toEqual([{ bucket: 0 }, { bucket: 0 }, { bucket: -1 }]);
  });
});

describe('percentiles', () => {
  it('differ by at most 10 % from percentile_cont', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(latency, { minLength: 1, maxLength: 40 }), async (latencies) => {
        const [row] = await sql<{ p50: number; p95: number; buckets: number[]; counts: number[] }>(
          inject('databaseUrl'),
          `with log as (select ms, ${BUCKET} as bucket from ${ROWS}),
             histogram as (select bucket, count(*)::int as count from log group by bucket)
           select (select percentile_cont(0.5) within group (order by ms) from log) as p50,
             (select percentile_cont(0.95) within group (order by ms) from log) as p95,
             array_agg(bucket) as buckets, array_agg(count) as counts from histogram`,
          [latencies],
        );
        if (!row) throw new Error('no row');
        const [p50, p95] = percentiles(row, [0.5, 0.95]) as [number, number];
        expect(Math.abs(p50 / row.p50 - 1)).toBeLessThan(0.1);
        expect(Math.abs(p95 / row.p95 - 1)).toBeLessThan(0.1);
      }),
      { numRuns: 50 },
    );
  });

  it('are null for an empty histogram', () => {
    expect(percentiles({ buckets: [], counts: [] }, [0.5, 0.95])).toEqual([null, null]);
  });
});
