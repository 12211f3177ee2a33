/** How often and how patiently a transient failure is tried again. Times in milliseconds. */
export interface RetryPolicy {
  /** Attempts through one channel, over all of its providers. */
  maxAttempts: number;
  baseDelayMs: number;
  maxDelayMs: number;
  /** From when the event was due: after this no attempt is repeated. */
  deadlineMs: number;
}

export const DEFAULT_RETRY: RetryPolicy = {
  maxAttempts: 6,
  baseDelayMs: 2_000,
  maxDelayMs: 10 * 60_000,
  deadlineMs: 24 * 3_600_000,
};

/**
 * Exponential backoff with full jitter: a random time up to the doubled limit, so that a crowd that failed together
 * does not come back together. A provider that names a time is not asked earlier.
 *
 * @param round how often all providers were tried so far, at least 1
 * @param random in [0, 1)
 * @returns milliseconds to wait
 */
export function backoff(
  policy: Pick<RetryPolicy, 'baseDelayMs' | 'maxDelayMs'>,
  round: number,
  random: number,
  retryAfterMs = 0,
): number {
  const limit = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** (round - 1));
  return Math.max(Math.ceil(random * limit), retryAfterMs);
}
