import { describe, expect, it } from 'vitest';

import type { ClaimedLog } from '../../src/delivery/claim.ts';
import { createInFlight } from '../../src/delivery/in-flight.ts';

const rowsOf = (tenantId: string, count: number): ClaimedLog[] =>
  Array.from({ length: count }, () => ({ tenantId }) as ClaimedLog);

describe('createInFlight', () => {
  it('doubles the window of a tenant with each batch that finishes at once, up to its limit', () => {
    const inFlight = createInFlight(5_000, 1_000);
    expect(inFlight.defaultCapacity).toBe(100);
    for (const expected of [200, 400, 800, 1_000, 1_000]) {
      const batch = rowsOf('fast', inFlight.capacity().get('fast') ?? inFlight.defaultCapacity);
      for (const row of batch) inFlight.add(row);
      expect(inFlight.capacity().get('fast')).toBe(0);
      for (const row of batch) inFlight.release(row);
      expect(inFlight.capacity().get('fast')).toBe(expected);
      expect(inFlight.free).toBe(5_000);
    }
  });

  it('keeps the first window of a tenant when no delivery finishes', () => {
    const inFlight = createInFlight(5_000, 1_000);
    for (const row of rowsOf('stuck', 100)) inFlight.add(row);
    expect(inFlight.capacity().get('stuck')).toBe(0);
    expect(inFlight.free).toBe(4_900);
  });

  it('returns the excess over a tenant’s own limit and applies that limit', () => {
    const inFlight = createInFlight(5_000, 1_000);
    const batch = rowsOf('own', 5);
    for (const row of batch) inFlight.add(row);
    expect(inFlight.limit('own', 2)).toBe(3);
    expect(inFlight.capacity().get('own')).toBe(0);
    for (const row of batch) inFlight.release(row);
    expect(inFlight.capacity().get('own')).toBe(2);
  });

  it('frees the place of a row only once when the row is released twice', () => {
    const inFlight = createInFlight(10, 10);
    const [row] = rowsOf('t', 1) as [ClaimedLog];
    inFlight.add(row);
    inFlight.release(row);
    inFlight.release(row);
    expect(inFlight.free).toBe(10);
    expect([...inFlight.rows()]).toEqual([]);
  });
});
