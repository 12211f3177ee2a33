import { AppError } from '../errors.ts';
import type { Actor } from './actor.ts';
import type { Revocations } from './revocations.ts';

/** Ends long-lived operations when their token expires or is revoked. */
export interface Access {
  /** Calls `onEnd` once when the actor's token expires or is revoked. @returns a function that stops watching. */
  watch(actor: Actor, onEnd: (reason: AppError) => void): () => void;
}

/** Limit of `setTimeout`. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export function createAccess(revocations: Pick<Revocations, 'isRevoked' | 'onRevoked'>): Access {
  const watched = new Map<object, { actor: Actor; end: (reason: AppError) => void }>();
  revocations.onRevoked(() => {
    for (const { actor, end } of watched.values()) {
      if (revocations.isRevoked(actor)) end(new AppError('token_revoked', 'The token was revoked.'));
    }
  });

  return {
    watch: (actor, onEnd) => {
      const key = {};
      let timer: NodeJS.Timeout | undefined;
      const stop = (): void => {
        watched.delete(key);
        clearTimeout(timer);
      };
      const end = (reason: AppError): void => {
        stop();
        onEnd(reason);
      };
      const check = (): void => {
        const remaining = actor.expiresAt.getTime() - Date.now();
        if (remaining <= 0) end(new AppError('token_expired', 'The token has expired.'));
        else timer = setTimeout(check, Math.min(remaining, MAX_TIMER_MS)).unref();
      };
      watched.set(key, { actor, end });
      check();
      return stop;
    },
  };
}
