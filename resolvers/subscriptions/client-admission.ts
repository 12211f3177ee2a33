import { setTimeout as delay } from 'node:timers/promises';

import type { Core } from '../../src/core.ts';
import type { Actor } from '../../src/identity/actor.ts';
import { AppError } from '../../src/errors.ts';
import { type Admission, createAdmission, type LiveLimits } from '../../src/live/admission.ts';
import { type Broadcasts, createBroadcasts } from '../../src/live/broadcast.ts';
import type { Transport } from '../../src/live/clients.ts';
import type { Log } from '../../src/log.ts';
import { errorFormatter, type FormatError } from '../server/errors.ts';

/** Parts that all subscription transports of a process share. */
export interface LiveServices {
  core: Core;
  limits: LiveLimits;
  admission: Admission;
  broadcasts: Broadcasts<Buffer>;
  formatError: FormatError;
  /**
   * Registers an SSE stream or callback subscription that must be told to resubscribe when the server shuts down.
   *
   * @returns a function that removes it.
   */
  endOnClose(end: EndStream): () => void;
}

/** Ends a stream. Resolves when the client has been informed. */
type EndStream = (reason: AppError) => void | Promise<void>;

/** Maximum time for informing clients on shutdown, in milliseconds. */
const CLOSE_TIMEOUT_MS = 3_000;

export function createLiveServices(options: {
  core: Core;
  limits: LiveLimits;
  log: Log;
  isSchemaOpen: boolean;
}): LiveServices & { close(): Promise<void> } {
  const { core, limits, log } = options;
  const broadcasts = createBroadcasts<Buffer>({ log });
  const streams = new Set<EndStream>();
  const shutdownError = (): AppError =>
    new AppError('unavailable', 'The server is shutting down. Resubscribe with your last cursor.');
  let isClosed = false;
  return {
    core,
    limits,
    admission: createAdmission(limits),
    broadcasts,
    formatError: errorFormatter(options),
    endOnClose: (end) => {
      if (isClosed) void end(shutdownError());
      else streams.add(end);
      return () => streams.delete(end);
    },
    close: async () => {
      isClosed = true;
      const ended = Promise.all([...streams].map((end) => end(shutdownError())));
      await Promise.race([ended, delay(CLOSE_TIMEOUT_MS, undefined, { ref: false })]);
      broadcasts.close();
    },
  };
}

export interface LiveClient {
  id: string;
  actor: Actor;
  transport: Transport;
  /** Called when the token expires or is revoked. */
  onEnd: (reason: AppError) => void;
}

/**
 * Registers an authenticated client: enforces connection limits, lists it in `connectedClients`, and calls `onEnd` when
 * its token expires or is revoked.
 *
 * @returns a function to call when the client disconnects.
 * @throws `rate_limited` when the user or tenant has reached its limit.
 */
export function admitClient(
  { core, admission }: LiveServices,
  { id, actor, transport, onEnd }: LiveClient,
): () => void {
  const leave = admission.admit(actor);
  const { tenantId, userId } = actor;
  const endWatch = core.access.watch(actor, onEnd);
  core.clients.add({ id, tenantId, userId, transport });
  return () => {
    leave();
    endWatch();
    core.clients.remove(id);
  };
}
