import type { Log } from './log.ts';

/** Maximum duration of a shutdown, in milliseconds. After this time the process exits. */
const SHUTDOWN_LIMIT_MS = 30_000;

/** Waits for SIGTERM or SIGINT, then closes the service. */
export async function runUntilStopped(service: { close(): Promise<void> }, log: Log): Promise<void> {
  const signal = await new Promise<NodeJS.Signals>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, resolve);
  });
  log.info({ signal }, 'stopping');
  setTimeout(() => {
    log.fatal('shutdown took too long: deliveries in flight are claimed again when their lease expires');
    process.exit(1);
  }, SHUTDOWN_LIMIT_MS).unref();
  await service.close();
  log.info('stopped');
}
