/**
 * State machine of a notification.
 *
 *     queued ──► sending ──► sent | sent_fallback | failed | suppressed | expired      (terminal)
 *                  │  ▲
 *                  ▼  │ when due
 *                retrying
 *
 * An expired lease of a `sending` row means that its process died: the row is claimed again, and its open attempt becomes
 * `unknown`.
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
