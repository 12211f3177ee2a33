export interface BeginOptions {
  /**
   * True if the provider has not begun to take the message, but it is the next one. It is recorded as soon as the number of
   * such messages allows. Call `begin` again, without this option, when the provider begins to take it.
   */
  isNext?: boolean;
}

export interface SendOptions {
  /** Maximum duration of the request to the provider, in milliseconds. Waiting for a free connection does not count. */
  timeoutMs: number;
  /**
   * Records that the message is being handed over, so that a crash leaves only those messages in doubt. If it resolves to
   * false or rejects, the message must not be sent. Repeated calls record it once.
   */
  begin: (options?: BeginOptions) => Promise<boolean>;
  /** True when the operator configured the host. Only then may it be in a private network. */
  isTrusted: boolean;
}
