import { v5, v7, validate } from 'uuid';

/** UUIDv5 namespace of derived ids. */
const EVENT_NAMESPACE = '6f1c2b0e-51a4-5d0c-9a3e-0f5f2f6c7d11';

/** Returns a new UUIDv7. It is time-ordered and used as the key of every row. */
export const newId = (): string => v7();

/** Returns the smallest UUIDv7 of a moment, given in milliseconds since 1970. */
export const firstIdOf = (msecs: number): string =>
  v7({ msecs: Math.max(0, msecs), seq: 0, random: new Uint8Array(16) });

/** Returns the moment of a UUIDv7, in milliseconds since 1970. */
export const timeOf = (id: string): number => Number.parseInt(id.replace('-', '').slice(0, 12), 16);

export const isUuid = (value: string): boolean => validate(value);

/** Derives a UUID from the parts. Equal parts give the same UUID, so that a repeated event is detected. */
export const derivedId = (...parts: (string | number)[]): string => v5(JSON.stringify(parts), EVENT_NAMESPACE);
