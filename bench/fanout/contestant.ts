import type { ChildProcess } from 'node:child_process';

/** URL and operation of the clients. */
export interface Target {
  /** E.g. `ws://127.0.0.1:8080/graphql`. */
  url: string;
  /** Subscription of every client. */
  query: string;
  variables?: Record<string, unknown>;
  /** File URL of a module that exports `createDialect`, for clients that do not use plain graphql-transport-ws. */
  dialect?: string;
}

/** A running server, in a separate process. */
export interface Running {
  /** Started with `startServer`, which pins it to a core and adds the memory probe. */
  process: ChildProcess;
  target: Target;
  /** Returns the payload of `connection_init` of a client. Clients are numbered from 0. */
  connectionParams?(client: number): Record<string, unknown>;
  /** Publishes this number of events at once. Every subscriber must receive each of them. */
  publish(count: number): Promise<void>;
  /** Stops the process and everything that was started with it. */
  stop(): Promise<void>;
}

/** Goals for deliveries per second, as multiples of the textbook server's. */
export interface Goals {
  single: number;
  burst: number;
}

/** Goals of the service over plain graphql-transport-ws and over the sealed connection. */
export const GOALS = {
  plain: { single: 2.5, burst: 15 },
  sealed: { single: 1.8, burst: 12 },
} satisfies Record<string, Goals>;

/** Goal for the resident memory of an idle connection, in KB. */
export const IDLE_GOAL_KB = 20;

export interface Contestant {
  name: string;
  goals?: Goals;
  start(): Promise<Running>;
}
