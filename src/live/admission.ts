import { AppError } from '../errors.ts';
import type { Owner } from '../inbox/owner.ts';

/** Maximum numbers of open sockets in this process. */
export interface SocketLimits {
  perProcess: number;
  perTenant: number;
  perUser: number;
}

/** Limits of live connections. */
export interface LiveLimits extends SocketLimits {
  /** Maximum number of concurrent operations of one socket. */
  operationsPerSocket: number;
  /** Maximum size of the send buffer of one socket, in bytes. */
  bufferBytes: number;
  /** Time within which a client must send `connection_init`, in milliseconds. */
  initTimeoutMs: number;
  /** Interval of pings, in milliseconds. A client that does not answer before the next ping is disconnected. */
  pingMs: number;
  /** Time over which sockets are closed on shutdown, in milliseconds, so that clients do not reconnect all at once. */
  drainMs: number;
}

export interface Admission {
  /** True when the process has reached its limit. */
  readonly isFull: boolean;
  /** Counts an open socket before authentication. @returns a function to call when the socket is closed. */
  enter(): () => void;
  /** Counts a socket of an authenticated user. @returns a function to call when it is closed. @throws `rate_limited` */
  admit(owner: Owner): () => void;
}

/** Counts open sockets and enforces the limits per process, tenant and user. */
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
        { key: JSON.stringify([tenantId]), limit: perTenant, owner: 'Tenant' },
        { key: JSON.stringify([tenantId, userId]), limit: perUser, owner: 'User' },
      ];
      const reached = limits.find(({ key, limit }) => (counts.get(key) ?? 0) >= limit);
      if (reached) {
        const { owner, limit } = reached;
        throw new AppError('rate_limited', `${owner} has reached the limit of ${limit} open connections.`);
      }
      for (const { key } of limits) change(key, 1);
      return () => {
        for (const { key } of limits) change(key, -1);
      };
    },
  };
}
