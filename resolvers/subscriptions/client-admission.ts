import { setTimeout as delay } from 'node:timers/promises';

import type { Core } from '../../src/core.ts';
import type { Actor } from '../../src/identity/actor.ts';
import { AppError } from '../../src/errors.ts';
import { type Admission, createAdmission, type LiveLimits } from '../../src/live/admission.ts';
import { type Broadcasts, createBroadcasts } from '../../src/live/broadcast.ts';
import type { Transport } from '../../src/live/clients.ts';
import type { Log } from '../../src/log.ts';
import { errorFormatter, type FormatError } from '../server/errors.ts';

/** What the transports of live updates share within a process: whom there is room for, and what is said to many. */
export interface LiveServices {
  core: Core;
  limits: LiveLimits;
  admission: Admission;
  broadcasts: Broadcasts<Buffer>;
  formatError: FormatError;
  /**
   * Streams that are no sockets end when the process stops, and say so: there is more to come, from another one.
   *
   * @returns a function that forgets one that is over.
   */
  endOnClose(end: EndStream): () => void;
}

/** Resolves when whoever reads the stream knows. */
type EndStream = (reason: AppError) => void | Promise<void>;

/** How long others may take to hear that a stream is over: nobody holds up our shutdown. */
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
  const stopping = (): AppError =>
    new AppError('unavailable', 'The server is shutting down. Resubscribe with your last cursor.');
  let isClosed = false;
  return {
    core,
    limits,
    admission: createAdmission(limits),
    broadcasts,
    formatError: errorFormatter(options),
    endOnClose: (end) => {
      if (isClosed) void end(stopping());
      else streams.add(end);
      return () => streams.delete(end);
    },
    close: async () => {
      isClosed = true;
      const ended = Promise.all([...streams].map((end) => end(stopping())));
      await Promise.race([ended, delay(CLOSE_TIMEOUT_MS, undefined, { ref: false })]);
      broadcasts.close();
    },
  };
}

export interface LiveClient {
  id: string;
  actor: Actor;
  transport: Transport;
  /** The token that it came with is good no more. */
  onEnd: (reason: AppError) => void;
}

/**
 * Lets in whoever is known by now: counted, watched over and listed, whatever the transport.
 *
 * @returns a function for when they leave.
 * @throws `rate_limited` where there are too many of the user or of the tenant.
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
