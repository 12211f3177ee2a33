import { LRUCache } from 'lru-cache';

import type { Channel } from '../intake/channel.ts';

/** Time of day without messages that wake people. Clock times as `HH:MM`; `to` may be on the next day. */
export interface QuietHours {
  from: string;
  to: string;
  /** IANA time zone for people whose time zone is not known. Default: the tenant's. */
  timeZone?: string;
  /** Channels that quiet hours apply to. Default: email, sms, push and zalo. */
  channels?: Channel[];
}

const MINUTE_MS = 60_000;
const DAY = 24 * 60;
/** Upper bound for a change of the clock, such as daylight saving time, in minutes. */
const LARGEST_SHIFT = 180;

/**
 * Returns the end of the current quiet hours: the first minute outside of them by the local clock, including changes to
 * and from daylight saving time.
 *
 * @param timeZone IANA time zone
 * @returns undefined when there are no quiet hours now.
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
  // The clock changes during these quiet hours, so the end moves: search for the first minute outside of them.
  let until = Math.max(thisMinute + MINUTE_MS, expected - LARGEST_SHIFT * MINUTE_MS);
  while (isQuiet(until) && until < expected + LARGEST_SHIFT * MINUTE_MS) until += MINUTE_MS;
  return new Date(until);
}

/** Returns the UTC offset of a time zone, in minutes. */
const shiftOf = (timeZone: string, time: number): number =>
  (minuteOfDay(timeZone, time) - Math.floor(time / MINUTE_MS) + 1_000_000 * DAY) % DAY;

const minutesOf = (clock: string): number => Number(clock.slice(0, 2)) * 60 + Number(clock.slice(3, 5));

/** Cached, because creating a formatter takes a hundred times as long as using it. */
const clocks = new LRUCache<string, Intl.DateTimeFormat>({ max: 1_000 });

/** Returns the local time in minutes since midnight. */
function minuteOfDay(timeZone: string, time: number): number {
  let clock = clocks.get(timeZone);
  if (!clock) {
    clock = new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
    clocks.set(timeZone, clock);
  }
  return minutesOf(clock.format(time));
}
