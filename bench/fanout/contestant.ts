import type { ChildProcess } from 'node:child_process';

/** Where the clients go and what they ask for. */
export interface Target {
  /** E.g. `ws://127.0.0.1:8080/graphql`. */
  url: string;
  /** The subscription that every client opens once. */
  query: string;
  variables?: Record<string, unknown>;
  /** A module (file URL) that exports `createDialect`, where clients do not speak plain graphql-transport-ws. */
  dialect?: string;
}

/** A server that is up, in a process of its own. */
export interface Running {
  /** Started by `startServer`, so that it runs on its core and says how much memory it holds. */
  process: ChildProcess;
  target: Target;
  /** What a client sends with `connection_init`; clients are counted from 0. */
  connectionParams?(client: number): Record<string, unknown>;
  /** Makes so many events happen at once, each of which every subscriber is to get. */
  publish(count: number): Promise<void>;
  /** Ends the process and whatever came up with it. */
  stop(): Promise<void>;
}

/** How many times the textbook's deliveries per second are asked of a server. */
export interface Goals {
  single: number;
  burst: number;
}

/** The service's goals: as plain graphql-transport-ws, and over the encrypted connection. */
export const GOALS = {
  plain: { single: 2.5, burst: 15 },
  sealed: { single: 1.8, burst: 12 },
} satisfies Record<string, Goals>;

/** KB of resident memory that a connection with nothing to do may cost. */
export const IDLE_GOAL_KB = 20;

export interface Contestant {
  name: string;
  goals?: Goals;
  start(): Promise<Running>;
}
