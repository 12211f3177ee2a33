/** The Redis channel that every instance of the notification service listens to. */
const CHANNEL = 'signal:emit';
/** Maximum length of a message's JSON that the service accepts, in characters. */
const MAX_MESSAGE = 256 * 1024;
const DESTINATION_KEYS = ['tenant', 'user', 'merchant', 'organization', 'client'] as const;

/** Recipients of a message: the clients that match all of its fields. */
export type Destination = { [Key in (typeof DESTINATION_KEYS)[number]]?: string };

/** A Redis client, for example of ioredis or node-redis. */
export interface Publisher {
  publish(channel: string, message: string): Promise<unknown>;
}

export interface Emitter {
  /**
   * Delivers `data`, best effort, to the subscribers of `topicMessage(topic)` that match `destination`.
   * Rejects with an {@link EmitError} when the message is invalid, or with the error of the Redis client.
   */
  emit(topic: string, data: unknown, destination: Destination): Promise<void>;
}

/** A message that the service would refuse. */
export class EmitError extends Error {
  readonly code = 'invalid_message';

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'EmitError';
  }
}

/** Pushes messages to users who are online, from any service that is connected to the same Redis. */
export function createEmitter(redis: Publisher): Emitter {
  return {
    async emit(topic, data, destination) {
      if (typeof topic !== 'string' || topic === '') throw new EmitError('topic must be a non-empty string');
      checkDestination(destination);
      const message = JSON.stringify({ topic, data: checkedData(data), destination });
      if (message.length > MAX_MESSAGE) {
        throw new EmitError(`message has ${message.length} characters; the maximum is ${MAX_MESSAGE}`);
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
    throw new EmitError(`destination must have at least one of the keys ${DESTINATION_KEYS.join(', ')}`);
  }
  const known: readonly string[] = DESTINATION_KEYS;
  for (const [key, value] of entries) {
    if (!known.includes(key)) throw new EmitError(`destination.${key} is unknown; the keys are ${known.join(', ')}`);
    if (typeof value !== 'string' || value === '') {
      throw new EmitError(`destination.${key} must be a non-empty string`);
    }
  }
}

function checkedData(data: unknown): unknown {
  let text: string | undefined;
  try {
    text = JSON.stringify(data);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new EmitError(`data cannot be serialized to JSON: ${reason}`, { cause: error });
  }
  if (text === undefined) throw new EmitError(`data cannot be serialized to JSON: it has the type ${typeof data}`);
  return data;
}
