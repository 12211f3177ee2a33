import type { Core } from '../../src/core.ts';
import type { Actor } from '../../src/identity/actor.ts';
import type { AppError } from '../../src/errors.ts';
import { type Admission, createAdmission, type LiveLimits } from '../../src/live/admission.ts';
import { type Broadcasts, createBroadcasts } from '../../src/live/broadcast.ts';
import type { Transport } from '../../src/live/clients.ts';
import type { Log } from '../../src/log.ts';
import { errorFormatter, type FormatError } from '../errors.ts';

/** What the transports of live updates share within a process: whom there is room for, and what is said to many. */
export interface LiveDoor {
  core: Core;
  limits: LiveLimits;
  admission: Admission;
  broadcasts: Broadcasts<Buffer>;
  formatError: FormatError;
  /** Streams that are no sockets end when the process stops. @returns a function that forgets one that is over. */
  endOnClose(end: () => void): () => void;
}

export function createLiveDoor(options: {
  core: Core;
  limits: LiveLimits;
  log: Log;
  isSchemaOpen: boolean;
}): LiveDoor & { close(): void } {
  const { core, limits, log } = options;
  const broadcasts = createBroadcasts<Buffer>({ log });
  const streams = new Set<() => void>();
  let isClosed = false;
  return {
    core,
    limits,
    admission: createAdmission(limits),
    broadcasts,
    formatError: errorFormatter(options),
    endOnClose: (end) => {
      if (isClosed) end();
      else streams.add(end);
      return () => streams.delete(end);
    },
    close: () => {
      isClosed = true;
      for (const end of streams) end();
      broadcasts.close();
    },
  };
}

export interface Visitor {
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
export function letIn({ core, admission }: LiveDoor, { id, actor, transport, onEnd }: Visitor): () => void {
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
