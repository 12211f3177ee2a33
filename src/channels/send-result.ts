/**
 * The outcome of one send.
 *
 * - `transient`: a later attempt may succeed.
 * - `permanent`: no later attempt can succeed.
 * - `unknown`: the provider took the message and did not answer, so it may have been delivered.
 */
export type SendResult = { outcome: 'ok'; providerMessageId?: string } | SendFailure;

/** A failed send. Admins read the message: it says what went wrong, without the recipient and without secrets. */
export interface SendFailure {
  outcome: 'transient' | 'permanent' | 'unknown';
  /**
   * The part that has to change: another provider may accept what this one's account or outage stopped; no provider
   * accepts a recipient that does not exist or a malformed message.
   */
  blames: 'recipient' | 'message' | 'provider';
  errorCode: string;
  errorMessage: string;
  /** Time in which the provider asked not to be called again, in milliseconds. */
  retryAfterMs?: number;
  /** Set when the address does not exist or its owner complained: the address is not used again. */
  suppress?: 'hard_bounce' | 'complaint';
}
