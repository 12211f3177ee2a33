import { AppError } from '../errors.ts';
import type { Owner } from '../inbox/owner.ts';

/** How many sockets this process holds at once. */
export interface SocketLimits {
  perProcess: number;
  perTenant: number;
  perUser: number;
}

/** Bounds of what open sockets may take. */
export interface LiveLimits extends SocketLimits {
  /** Operations that one socket runs at once. */
  operationsPerSocket: number;
  /** Bytes that may wait for a client that reads slowly. */
  bufferBytes: number;
  /** Until `connection_init`. Milliseconds. */
  initTimeoutMs: number;
  /** A client that has not answered a ping by the next one is gone. Milliseconds. */
  pingMs: number;
  /** Over which open sockets are closed when the process stops, so that not all come back at once. Milliseconds. */
  drainMs: number;
}

export interface Admission {
  /** There is no room for anybody. */
  readonly isFull: boolean;
  /** A socket was opened, by whomever. @returns a function for when it is closed. */
  enter(): () => void;
  /** Its owner is known. @returns a function for when it is closed. @throws `rate_limited` */
  admit(owner: Owner): () => void;
}

/** Counts sockets, so that neither a user nor a tenant takes the room of the others. */
export function createAdmission({ perProcess, perTenant, perUser }: SocketLimits): Admission {
  const counts = new Map<string, number>();
  let open = 0;
  const change = (key: string, by: number): void => {
    const count = (counts.get(key) ?? 0) + by;
    if (count > 0) counts.set(key, count);
    else counts.delete(key);
  };

  return {
    get isFull() {
      return open >= perProcess;
    },
    enter: () => {
      open += 1;
      return () => {
        open -= 1;
      };
    },
    admit: ({ tenantId, userId }) => {
      const limits = [
        { key: JSON.stringify([tenantId]), limit: perTenant, whose: 'this tenant' },
        { key: JSON.stringify([tenantId, userId]), limit: perUser, whose: 'this user' },
      ];
      const reached = limits.find(({ key, limit }) => (counts.get(key) ?? 0) >= limit);
      if (reached) throw new AppError('rate_limited', `Too many open connections of ${reached.whose}.`);
      for (const { key } of limits) change(key, 1);
      return () => {
        for (const { key } of limits) change(key, -1);
      };
    },
  };
}
