/** Returns whether `value` is an IANA time zone, e.g. `Asia/Ho_Chi_Minh`. */
export function isTimeZone(value: string): boolean {
  try {
    return Intl.DateTimeFormat('en', { timeZone: value }) !== undefined;
  } catch {
    return false;
  }
}
