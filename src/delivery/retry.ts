/** How often and how patiently a transient failure is tried again. Times in milliseconds. */
export interface RetryPolicy {
  maxAttempts: number;
  baseDelayMs: number;
  maxDelayMs: number;
}

export const DEFAULT_RETRY: RetryPolicy = { maxAttempts: 6, baseDelayMs: 2_000, maxDelayMs: 10 * 60_000 };

/**
 * Exponential backoff with full jitter: a random time up to the doubled limit, so that a crowd that failed together
 * does not come back together. A provider that names a time is not asked earlier.
 *
 * @param attempts how many were made so far, at least 1
 * @param random in [0, 1)
 * @returns milliseconds to wait, or undefined when no attempt is left
 */
export function nextRetryDelay(
  policy: RetryPolicy,
  attempts: number,
  random: number,
  retryAfterMs = 0,
): number | undefined {
  if (attempts >= policy.maxAttempts) return undefined;
  const limit = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** (attempts - 1));
  return Math.max(Math.ceil(random * limit), retryAfterMs);
}
