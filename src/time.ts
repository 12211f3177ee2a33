/** A point in time, or a whole day. */
export interface Time {
  /** For a whole day, its start in UTC. */
  at: Date;
  /** False for a date without a time of day. */
  hasTime: boolean;
  /** False when the text has no offset from UTC. */
  hasOffset: boolean;
}

const PATTERN = /^(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?([Zz]|[+-]\d\d:?\d\d)?)?$/;

/**
 * Parses a time in RFC 3339 format, or a date. Unlike `new Date`, it accepts no date that does not exist, such as
 * `2026-02-29`, which would become another day. A time without offset is in UTC. Leap seconds are not accepted, because
 * neither JavaScript nor the database has them.
 *
 * @returns undefined when the text is not a time from the years 1 to 9999.
 */
export function parseTime(text: string): Time | undefined {
  const parts = PATTERN.exec(text);
  if (!parts) return undefined;
  const [year, month, day, hour, minute, second] = parts.slice(1, 7).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (year < 1 || hour > 23 || minute > 59 || second > 59) return undefined;
  const date = new Date(0);
  // Unlike `Date.UTC`, this does not move the years 0 to 99 to the 20th century.
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  const offset = minutesOf(parts[8] ?? 'Z');
  if (offset === undefined) return undefined;
  date.setUTCHours(hour, minute - offset, second, Number((parts[7] ?? '').padEnd(3, '0').slice(0, 3)));
  const shifted = date.getUTCFullYear();
  if (shifted < 1 || shifted > 9999) return undefined;
  return { at: date, hasTime: parts[4] !== undefined, hasOffset: parts[8] !== undefined };
}

/** Returns the minutes of an offset from UTC; undefined when there is no such offset. */
function minutesOf(offset: string): number | undefined {
  if (/^z$/i.test(offset)) return 0;
  const [hours, minutes] = [Number(offset.slice(1, 3)), Number(offset.slice(-2))];
  if (hours > 23 || minutes > 59) return undefined;
  return (offset.startsWith('-') ? -1 : 1) * (hours * 60 + minutes);
}

/** Parses a date-time of RFC 3339, which has a time of day and an offset. @returns undefined when it is none. */
export function parseDateTime(text: string): Date | undefined {
  const time = parseTime(text);
  return time?.hasTime && time.hasOffset ? time.at : undefined;
}
