import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';

export type Log = Logger;

/** Keys whose values may contain tokens, secrets or addresses. They are redacted. */
const SENSITIVE = ['authorization', 'token', 'password', 'secret', 'recipient', 'email', 'phone', 'params'];

/**
 * Creates a log of JSON lines, by default on standard output. Correlation fields are `tenant_id`, `trace_id`,
 * `event_id`, `template_id` and `channel`.
 */
export function createLog(level: string, destination: DestinationStream = pino.destination(1)): Log {
  const options: LoggerOptions = {
    level,
    base: { service: 'notification-subgraph' },
    messageKey: 'message',
    errorKey: 'error',
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: SENSITIVE.flatMap((key) => [key, `*.${key}`]), censor: '[redacted]' },
  };
  return pino(options, destination);
}

/** Logs the warnings of Node and libraries, which Node would print as plain text on standard error. */
export function logProcessWarnings(log: Log): void {
  process.removeAllListeners('warning');
  process.on('warning', ({ name, message }) => log.warn({ warning: name }, message));
}
