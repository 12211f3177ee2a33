/** The Redis channel that every instance of the notification service listens to. */
const CHANNEL = 'signal:emit';
/** Longest message that the service takes, in characters of its JSON. */
const MAX_MESSAGE = 256 * 1024;
const DESTINATION_KEYS = ['tenant', 'user', 'merchant', 'organization', 'client'] as const;

/** Whom a message is for. */
export type Destination = { [Key in (typeof DESTINATION_KEYS)[number]]?: string };

/** What ioredis, node-redis and others have. */
export interface Publisher {
  publish(channel: string, message: string): Promise<unknown>;
}

export interface Emitter {
  /**
   * Delivered, best effort, to whoever is subscribed to `topicMessage(topic)` and meant by `destination`.
   * Rejects with an {@link EmitError} before anything is sent, or with what Redis said.
   */
  emit(topic: string, data: unknown, destination: Destination): Promise<void>;
}

/** A message that nobody could receive. */
export class EmitError extends Error {
  readonly code = 'invalid_message';

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'EmitError';
  }
}

/** Pushes messages to people who are online, from any service that reaches the same Redis. */
export function createEmitter(redis: Publisher): Emitter {
  return {
    async emit(topic, data, destination) {
      if (typeof topic !== 'string' || topic === '') throw new EmitError('topic must be a string that is not empty');
      checkDestination(destination);
      const message = JSON.stringify({ topic, data: checkedData(data), destination });
      if (message.length > MAX_MESSAGE) {
        throw new EmitError(`message must have at most ${MAX_MESSAGE} characters, and not ${message.length}`);
      }
      await redis.publish(CHANNEL, message);
    },
  };
}

function checkDestination(destination: Destination): void {
  if (typeof destination !== 'object' || destination === null || Array.isArray(destination)) {
    throw new EmitError('destination must be an object');
  }
  const entries = Object.entries(destination);
  if (entries.length === 0) {
    throw new EmitError(`destination must name one of ${DESTINATION_KEYS.join(', ')}, or nobody is meant`);
  }
  const known: readonly string[] = DESTINATION_KEYS;
  for (const [key, value] of entries) {
    if (!known.includes(key)) throw new EmitError(`destination.${key} is unknown; there are ${known.join(', ')}`);
    if (typeof value !== 'string' || value === '') {
      throw new EmitError(`destination.${key} must be a string that is not empty`);
    }
  }
}

function checkedData(data: unknown): unknown {
  let text: string | undefined;
  try {
    text = JSON.stringify(data);
  } catch (error) {
    throw new EmitError(`data is no JSON: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  if (text === undefined) throw new EmitError(`data is no JSON: ${typeof data}`);
  return data;
}
