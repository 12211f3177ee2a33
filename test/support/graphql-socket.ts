import type { GraphQLFormattedError } from 'graphql';
import type { Client, FormattedExecutionResult } from 'graphql-ws';

/** The first reply to an operation on a socket: a result or an `error` message. */
export interface SocketAnswer {
  result?: FormattedExecutionResult<Record<string, unknown>, unknown>;
  refusal?: readonly GraphQLFormattedError[];
}

/** Sends any text as an operation, valid or not. */
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
        complete: () => reject(new Error('the operation completed without a result')),
      },
    );
  });
}
