/**
 * Carries wake-ups between parts of one process, and between processes. It may lose messages and it may repeat them:
 * whoever is woken reads the truth from the database.
 */
export interface Bus {
  /** Never rejects and never waits for a receiver: a lost hint does no harm. */
  publish(topic: string, message: unknown): void;
  /**
   * Listens to a topic; what a listener throws concerns nobody else. `onReady` is called once messages arrive, which is later while the bus is away: nobody has to
   * wait for it, since what came in before is found in the database.
   *
   * @returns a function that ends it.
   */
  subscribe(topic: string, listener: (message: unknown) => void, onReady?: () => void): () => void;
  /** Called when messages may have been missed, so that open feeds look into the database. */
  onGap(listener: () => void): void;
  /** @throws when the bus cannot carry messages now. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** Topics. Each ends in who is concerned, so that an instance hears only what its own clients watch. */
export const topics = {
  inbox: (tenantId: string, userId: string): string => `notif:inbox:${JSON.stringify([tenantId, userId])}`,
  logs: (tenantId: string): string => `notif:logs:${tenantId}`,
  /** New work in the queue. */
  due: 'notif:due',
  /** A tenant's configuration changed. */
  config: 'notif:config',
  /** Tokens were revoked. */
  revocations: 'notif:revocations',
  /** What other services push: a public name. */
  signals: 'signal:emit',
};

/** Longest message that another service may push, in characters. */
export const MAX_SIGNAL = 256 * 1024;
