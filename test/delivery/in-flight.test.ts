import { describe, expect, it } from 'vitest';

import type { ClaimedLog } from '../../src/delivery/claim.ts';
import { createInFlight } from '../../src/delivery/in-flight.ts';

const rowsOf = (tenantId: string, count: number): ClaimedLog[] =>
  Array.from({ length: count }, () => ({ tenantId }) as ClaimedLog);

describe('what a dispatcher has in hand', () => {
  it('starts small for a tenant, and grows with what comes to its end, also when all of it ends at once', () => {
    const hand = createInFlight(5_000, 1_000);
    expect(hand.defaultPlaces).toBe(100);
    for (const expected of [200, 400, 800, 1_000, 1_000]) {
      const batch = rowsOf('fast', hand.places().get('fast') ?? hand.defaultPlaces);
      for (const row of batch) hand.take(row);
      expect(hand.places().get('fast')).toBe(0);
      for (const row of batch) hand.release(row);
      expect(hand.places().get('fast')).toBe(expected);
      expect(hand.free).toBe(5_000);
    }
  });

  it('stays small for a tenant of which nothing comes to an end', () => {
    const hand = createInFlight(5_000, 1_000);
    for (const row of rowsOf('stuck', 100)) hand.take(row);
    expect(hand.places().get('stuck')).toBe(0);
    expect(hand.free).toBe(4_900);
  });

  it('says by how much a tenant’s own limit is exceeded, and keeps to it', () => {
    const hand = createInFlight(5_000, 1_000);
    const batch = rowsOf('own', 5);
    for (const row of batch) hand.take(row);
    expect(hand.limit('own', 2)).toBe(3);
    expect(hand.places().get('own')).toBe(0);
    for (const row of batch) hand.release(row);
    expect(hand.places().get('own')).toBe(2);
  });

  it('counts a row once, however often it is let go', () => {
    const hand = createInFlight(10, 10);
    const [row] = rowsOf('t', 1) as [ClaimedLog];
    hand.take(row);
    hand.release(row);
    hand.release(row);
    expect(hand.free).toBe(10);
    expect([...hand.rows()]).toEqual([]);
  });
});
