import type { Channel } from '../intake/channel.ts';

/** A time of day in which nobody is to be woken. Clock times as `HH:MM`; `to` may lie on the next day. */
export interface QuietHours {
  from: string;
  to: string;
  /** IANA name, where neither the person's own is known nor the tenant's is meant. */
  timeZone?: string;
  /** The channels that wake people; absent: email, sms, push and zalo. */
  channels?: Channel[];
}

export function quietUntil(_quiet: QuietHours, _timeZone: string, _now: Date): Date | undefined {
  return undefined;
}
