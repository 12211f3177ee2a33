import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { quietUntil } from '../../src/preferences/quiet-hours.ts';

const until = (from: string, to: string, zone: string, now: string): string | undefined =>
  quietUntil({ from, to }, zone, new Date(now))?.toISOString();

describe('quiet hours', () => {
  it.each([
    ['22:00', '07:00', 'Asia/Ho_Chi_Minh', '2026-03-01T16:30:00Z', '2026-03-02T00:00:00.000Z'],
    ['22:00', '07:00', 'Asia/Ho_Chi_Minh', '2026-03-01T23:59:59.999Z', '2026-03-02T00:00:00.000Z'],
    ['22:00', '07:00', 'Asia/Ho_Chi_Minh', '2026-03-02T00:00:00Z', undefined],
    ['22:00', '07:00', 'Asia/Ho_Chi_Minh', '2026-03-01T14:59:59Z', undefined],
    ['12:00', '13:30', 'Asia/Kolkata', '2026-03-01T06:45:10Z', '2026-03-01T08:00:00.000Z'],
    ['00:00', '00:00', 'UTC', '2026-03-01T00:00:00Z', undefined],
    // Clocks go forward at 02:00, so 02:30 does not exist and quiet hours end at the jump.
    ['22:00', '02:30', 'Europe/Berlin', '2026-03-29T00:30:00Z', '2026-03-29T01:00:00.000Z'],
    ['22:00', '07:00', 'Europe/Berlin', '2026-03-28T22:00:00Z', '2026-03-29T05:00:00.000Z'],
    // Clocks go back at 03:00, so the night is one hour longer.
    ['22:00', '07:00', 'Europe/Berlin', '2026-10-24T22:00:00Z', '2026-10-25T06:00:00.000Z'],
  ])('from %s to %s in %s, at %s, end at %s', (from, to, zone, now, expected) => {
    expect(until(from, to, zone, now)).toBe(expected);
  });

  it('end at the first minute that is not quiet', () => {
    const clock = fc
      .integer({ min: 0, max: 24 * 60 - 1 })
      .map((minute) => `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`);
    const zones = fc.constantFrom(
      'UTC',
      'Asia/Ho_Chi_Minh',
      'Europe/Berlin',
      'America/St_Johns',
      'Australia/Lord_Howe',
    );
    // Includes the days of clock changes.
    const now = fc.date({ min: new Date('2026-01-01'), max: new Date('2027-01-01'), noInvalidDate: true });
    fc.assert(
      fc.property(clock, clock, zones, now, (from, to, zone, time) => {
        const end = quietUntil({ from, to }, zone, time);
        if (!end) return;
        expect(end.getTime()).toBeGreaterThan(time.getTime());
        expect(quietUntil({ from, to }, zone, end)).toBeUndefined();
        expect(quietUntil({ from, to }, zone, new Date(end.getTime() - 60_000))).toBeDefined();
      }),
      { numRuns: 500 },
    );
  });
});
