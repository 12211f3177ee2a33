import type { GraphQLFormattedError } from 'graphql';
import type { Client, FormattedExecutionResult } from 'graphql-ws';

/** How the server answered an operation on a socket at first: a result, or an `error` message. */
export interface SocketAnswer {
  result?: FormattedExecutionResult<Record<string, unknown>, unknown>;
  refusal?: readonly GraphQLFormattedError[];
}

/** Says any text as an operation, whether it is one or not. */
export function ask(client: Client, query: string, variables?: Record<string, unknown>, operationName?: string) {
  return new Promise<SocketAnswer>((resolve, reject) => {
    const stop = client.subscribe<Record<string, unknown>>(
      { query, ...(variables ? { variables } : {}), ...(operationName ? { operationName } : {}) },
      {
        next: (result) => {
          resolve({ result });
          stop();
        },
        error: (error) => {
          if (Array.isArray(error)) resolve({ refusal: error as GraphQLFormattedError[] });
          else reject(new Error(JSON.stringify(error)));
        },
        complete: () => reject(new Error('complete, without an answer')),
      },
    );
  });
}
