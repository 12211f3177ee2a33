/**
 * The outcome of one send.
 *
 * - `transient`: a later attempt may succeed.
 * - `permanent`: no later attempt can succeed.
 * - `unknown`: the provider took the message and did not answer, so it may have been delivered.
 */
export type SendResult = { outcome: 'ok'; providerMessageId?: string } | SendFailure;

/** A failed send. The message is shown to admins and contains neither the recipient nor secrets. */
export interface SendFailure {
  outcome: 'transient' | 'permanent' | 'unknown';
  /**
   * The cause of the failure. After a failure of the provider, another provider may succeed. No provider
   * accepts a recipient that does not exist or a malformed message.
   */
  blames: 'recipient' | 'message' | 'provider';
  errorCode: string;
  errorMessage: string;
  /** Time for which the provider must not be called again, in milliseconds; from `Retry-After`. */
  retryAfterMs?: number;
  /** Set when the address does not exist or its owner complained: the address is not used again. */
  suppress?: 'hard_bounce' | 'complaint';
}
