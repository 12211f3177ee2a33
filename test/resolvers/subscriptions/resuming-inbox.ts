import { type FormattedExecutionResult, print } from 'graphql';
import { createClient } from 'graphql-ws';

import { WatchInboxDocument, type WatchInboxSubscription } from '../../generated/operations.ts';

/** Behaves like a front end: reconnects after each disconnection and resumes from its last cursor. */
export interface ResumingInbox {
  /** Titles in order of arrival. */
  readonly seen: string[];
  /** Close code or error of each connection. */
  readonly closeCodes: number[];
  readonly connections: number;
  /** Cuts the connection like a network failure. */
  drop(): void;
  close(): Promise<void>;
}

export interface ResumingOptions {
  /** Called for each connection. */
  url: () => string;
  /** Called for each connection. */
  token: () => Promise<string>;
  after?: string | null;
}

export function resumingInbox({ url, token, after = null }: ResumingOptions): ResumingInbox {
  const seen: string[] = [];
  const closeCodes: number[] = [];
  let connections = 0;
  const client = createClient({
    url: () => `${url().replace(/^http/, 'ws')}/graphql`,
    connectionParams: async () => ({ token: await token() }),
    retryAttempts: Number.POSITIVE_INFINITY,
    retryWait: () => new Promise((resolve) => setTimeout(resolve, 20)),
    shouldRetry: () => true,
    on: {
      connected: () => (connections += 1),
      closed: (event) => closeCodes.push((event as { code: number }).code),
    },
  });
  // The client sends these variables again on each connection.
  const variables = { after };
  client.subscribe(
    { query: print(WatchInboxDocument), variables },
    {
      next: ({ data, errors }: FormattedExecutionResult<WatchInboxSubscription>) => {
        if (!data) throw new Error(JSON.stringify(errors));
        variables.after = data.notificationCreated.cursor;
        seen.push(String(data.notificationCreated.title));
      },
      error: () => {},
      complete: () => {},
    },
  );
  return {
    seen,
    closeCodes,
    get connections() {
      return connections;
    },
    drop: () => client.terminate(),
    close: async () => client.dispose(),
  };
}
