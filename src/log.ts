import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';

export type Log = Logger;

/** Keys that may hold a token, a secret or a person's address; whatever they hold is never printed. */
const SENSITIVE = ['authorization', 'token', 'password', 'secret', 'recipient', 'email', 'phone', 'params'];

/**
 * JSON lines, on standard output unless another destination is given. Correlation fields are `tenant_id`, `trace_id`, `event_id`, `template_id`, `channel`.
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

/** Writes the warnings of Node and of libraries as log lines; Node would print them as plain text on standard error. */
export function logProcessWarnings(log: Log): void {
  process.removeAllListeners('warning');
  process.on('warning', ({ name, message }) => log.warn({ warning: name }, message));
}
