import type { SmtpSession } from './smtp-session.ts';

/** The sessions with one relay, and the mails that wait for one. */
export interface SmtpPool {
  /**
   * Waits for a free connection, in first-in, first-out order.
   *
   * @param onNext called when the mail is next on a connection that is busy but works. Not called when one is free.
   */
  enter(onNext: () => void): Promise<void>;
  /** Returns an idle session; undefined when a new one has to be opened. */
  take(): SmtpSession | undefined;
  /** Frees the connection. Keeps its session for the next mail if it is open. */
  leave(session?: SmtpSession): void;
  close(): void;
}

/** Number of mails that are next, for each connection that has proved to work. */
const NEXT_PER_CONNECTION = 4;
/** Time until an idle session is closed, in milliseconds. Relays wait for 5 minutes (RFC 5321, section 4.5.3.2). */
const IDLE_MS = 4 * 60_000;

export function createSmtpPool(maxConnections: number): SmtpPool {
  let free = maxConnections;
  let isClosed = false;
  const idle: { session: SmtpSession; timer: NodeJS.Timeout }[] = [];
  /** Open sessions that have transferred a mail. */
  const proven = new Set<SmtpSession>();
  const waiting: { enter: () => void; onNext: () => void }[] = [];
  /** Length of the part of `waiting` for which `onNext` was called. */
  let next = 0;

  const announce = (): void => {
    const limit = NEXT_PER_CONNECTION * proven.size;
    while (next < Math.min(limit, waiting.length)) {
      next += 1;
      waiting[next - 1]?.onNext();
    }
  };

  return {
    enter: (onNext) => {
      if (free > 0) {
        free -= 1;
        return Promise.resolve();
      }
      return new Promise((enter) => {
        waiting.push({ enter, onNext });
        announce();
      });
    },
    take: () => {
      for (let last = idle.pop(); last; last = idle.pop()) {
        clearTimeout(last.timer);
        if (last.session.isOpen) return last.session;
      }
      return undefined;
    },
    leave: (session) => {
      if (session?.isOpen) {
        if (isClosed) session.close();
        else {
          const timer = setTimeout(() => session.quit(), IDLE_MS).unref();
          idle.push({ session, timer });
          if (session.accepted > 0 && !proven.has(session)) {
            proven.add(session);
            session.onClose(() => proven.delete(session));
          }
        }
      }
      const first = waiting.shift();
      if (first) {
        next = Math.max(0, next - 1);
        first.enter();
        announce();
      } else free += 1;
    },
    close: () => {
      isClosed = true;
      for (const { session, timer } of idle.splice(0)) {
        clearTimeout(timer);
        session.close();
      }
    },
  };
}
