import type { Storage } from '@graphiql/toolkit';

const PREFIX = 'graphiql:';
const HISTORY = new Set([`${PREFIX}queries`, `${PREFIX}favorites`]);

const ownKeys = (): string[] => Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));

/** The history plugin saves the headers tab along with each query, whatever `shouldPersistHeaders` says. */
const withoutHeaders = (history: string): string =>
  JSON.stringify(JSON.parse(history), (key, value: unknown) => (key === 'headers' ? undefined : value));

/** Tabs, history and settings outlive the browser tab. Headers, where somebody may have put a token, never do. */
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
