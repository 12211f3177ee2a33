/**
 * Carries wake-ups within a process and between processes. It may lose and repeat messages, because receivers read the
 * actual data from the database.
 */
export interface Bus {
  /** Publishes without waiting and without reporting errors. */
  publish(topic: string, message: unknown): void;
  /**
   * Listens to a topic. An error in a listener does not affect other listeners. `onReady` is called when the
   * subscription is active, which is delayed during an outage. Read the database then to find earlier changes.
   *
   * @returns a function that ends the subscription.
   */
  subscribe(topic: string, listener: (message: unknown) => void, onReady?: () => void): () => void;
  /** Adds a listener that is called when messages may have been lost, so that open feeds read the database. */
  onGap(listener: () => void): void;
  /** Checks the connection. @throws when messages cannot be sent or received now. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** Topics. They contain the tenant or user, so that an instance receives only messages for its own clients. */
export const topics = {
  inbox: (tenantId: string, userId: string): string => `notif:inbox:${JSON.stringify([tenantId, userId])}`,
  logs: (tenantId: string): string => `notif:logs:${tenantId}`,
  /** A delivery is due. */
  due: 'notif:due',
  /** A tenant's configuration changed. */
  config: 'notif:config',
  /** Tokens were revoked. */
  revocations: 'notif:revocations',
  /** Messages from other services. This name is public. */
  signals: 'signal:emit',
};

/** Maximum length of a message from another service, in characters. */
export const MAX_SIGNAL = 256 * 1024;
