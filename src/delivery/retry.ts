/** Retry policy for transient failures. Times are in milliseconds. */
export interface RetryPolicy {
  /** Maximum number of attempts through one channel, over all of its providers. */
  maxAttempts: number;
  baseDelayMs: number;
  maxDelayMs: number;
  /** Time after the event's due time in which retries may start. */
  deadlineMs: number;
  /** Maximum number of attempts after one with an unknown outcome. */
  maxUnknown: number;
}

export const DEFAULT_RETRY: RetryPolicy = {
  maxAttempts: 6,
  baseDelayMs: 2_000,
  maxDelayMs: 10 * 60_000,
  deadlineMs: 24 * 3_600_000,
  maxUnknown: 1,
};

/**
 * Returns the exponential backoff with full jitter, so that messages that failed together do not retry together. Never
 * shorter than the `Retry-After` of the provider.
 *
 * @param round number of rounds over all providers so far, at least 1
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
