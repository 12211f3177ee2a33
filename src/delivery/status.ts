/**
 * The life of a notification.
 *
 *     queued ──► sending ──► sent | sent_fallback | failed | suppressed | expired      (terminal)
 *                  │  ▲
 *                  ▼  │ when due
 *                retrying
 *
 * A `sending` row whose lease ran out belonged to a process that died: it is claimed again, and the attempt that
 * was open becomes `unknown`.
 */
export const LOG_STATUSES = [
  'queued',
  'sending',
  'retrying',
  'sent',
  'sent_fallback',
  'failed',
  'suppressed',
  'expired',
] as const;

export type LogStatus = (typeof LOG_STATUSES)[number];

const OPEN: ReadonlySet<LogStatus> = new Set(['queued', 'sending', 'retrying']);

export const isTerminal = (status: LogStatus): boolean => !OPEN.has(status);
