import { v5, v7, validate } from 'uuid';

/** Names of events that carry no UUID of their own are hashed into this namespace. */
const EVENT_NAMESPACE = '6f1c2b0e-51a4-5d0c-9a3e-0f5f2f6c7d11';

/** Time-ordered UUIDv7: the key of every row. */
export const newId = (): string => v7();

/** The smallest id of a moment: ids are in the order of time. Milliseconds since 1970. */
export const firstIdOf = (msecs: number): string =>
  v7({ msecs: Math.max(0, msecs), seq: 0, random: new Uint8Array(16) });

export const isUuid = (value: string): boolean => validate(value);

/** The same parts always give the same UUID, so that a repeated event is known again. */
export const derivedId = (...parts: (string | number)[]): string => v5(JSON.stringify(parts), EVENT_NAMESPACE);
