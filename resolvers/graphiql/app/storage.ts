import type { Storage } from '@graphiql/toolkit';

const PREFIX = 'graphiql:';
const HISTORY = new Set([`${PREFIX}queries`, `${PREFIX}favorites`]);

const ownKeys = (): string[] => Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));

/** The history plugin saves the headers of each query, even when `shouldPersistHeaders` is false. */
const withoutHeaders = (history: string): string =>
  JSON.stringify(JSON.parse(history), (key, value: unknown) => (key === 'headers' ? undefined : value));

/** Stores tabs, history and settings in localStorage, but never headers, because they may contain a token. */
export const storage: Storage = {
  getItem: (key) => localStorage.getItem(key),
  setItem(key, value) {
    if (key === `${PREFIX}headers`) return;
    localStorage.setItem(key, HISTORY.has(key) ? withoutHeaders(value) : value);
  },
  removeItem: (key) => localStorage.removeItem(key),
  clear() {
    for (const key of ownKeys()) localStorage.removeItem(key);
  },
  get length() {
    return ownKeys().length;
  },
};
