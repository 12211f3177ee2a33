const FIRST_MS = 500;
const LONGEST_MS = 30_000;

/**
 * Returns the delay before retry `attempt` (from 0), in milliseconds: exponential, with jitter to spread the clients.
 */
export const backoff = (attempt: number): number =>
  Math.min(LONGEST_MS, FIRST_MS * 2 ** attempt) * (0.5 + Math.random() / 2);
