import { LRUCache } from 'lru-cache';

import type { Channel } from '../intake/channel.ts';

/** A time of day in which nobody is to be woken. Clock times as `HH:MM`; `to` may lie on the next day. */
export interface QuietHours {
  from: string;
  to: string;
  /** IANA name, where the person's own is not known; absent: the tenant's. */
  timeZone?: string;
  /** The channels that wake people; absent: email, sms, push and zalo. */
  channels?: Channel[];
}

const MINUTE_MS = 60_000;
const DAY = 24 * 60;
/** The most that a clock is ever put forward or back, in minutes, with room to spare. */
const LARGEST_SHIFT = 180;

/**
 * When quiet hours end that hold now: the first minute that is outside of them, by the clock of that place, whatever
 * that clock does in between.
 *
 * @param timeZone IANA name
 * @returns undefined where it is not quiet now.
 */
export function quietUntil({ from, to }: QuietHours, timeZone: string, now: Date): Date | undefined {
  const start = minutesOf(from);
  const end = minutesOf(to);
  const isQuiet = (time: number): boolean => {
    const minute = minuteOfDay(timeZone, time);
    return start < end ? minute >= start && minute < end : start !== end && (minute >= start || minute < end);
  };
  if (!isQuiet(now.getTime())) return undefined;
  const thisMinute = Math.floor(now.getTime() / MINUTE_MS) * MINUTE_MS;
  const left = (end - minuteOfDay(timeZone, thisMinute) + DAY) % DAY || DAY;
  const expected = thisMinute + left * MINUTE_MS;
  if (shiftOf(timeZone, thisMinute) === shiftOf(timeZone, expected)) return new Date(expected);
  // The clock is put forward or back in between, which moves the end by as much: the first minute that is not quiet.
  let until = Math.max(thisMinute + MINUTE_MS, expected - LARGEST_SHIFT * MINUTE_MS);
  while (isQuiet(until) && until < expected + LARGEST_SHIFT * MINUTE_MS) until += MINUTE_MS;
  return new Date(until);
}

/** How far the clock of a place is from UTC, in minutes. */
const shiftOf = (timeZone: string, time: number): number =>
  (minuteOfDay(timeZone, time) - Math.floor(time / MINUTE_MS) + 1_000_000 * DAY) % DAY;

const minutesOf = (clock: string): number => Number(clock.slice(0, 2)) * 60 + Number(clock.slice(3, 5));

/** Making one takes a hundred times as long as using it. */
const clocks = new LRUCache<string, Intl.DateTimeFormat>({ max: 1_000 });

/** What the clock of a place shows, in minutes since midnight. */
function minuteOfDay(timeZone: string, time: number): number {
  let clock = clocks.get(timeZone);
  if (!clock) {
    clock = new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
    clocks.set(timeZone, clock);
  }
  return minutesOf(clock.format(time));
}
