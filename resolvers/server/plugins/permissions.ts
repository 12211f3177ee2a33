import type { ApolloServerPlugin } from '@apollo/server';

import type { GraphContext } from '../context.ts';
import { assertMayRun, type GuardOptions } from '../permissions.ts';

/** Refuses an operation whose root fields need a permission that the caller does not have. */
export const permissionsPlugin = (options: GuardOptions): ApolloServerPlugin<GraphContext> => ({
  requestDidStart: async () => ({
    didResolveOperation: async ({ document, request, contextValue }) =>
      assertMayRun(options, document, request.operationName, contextValue),
  }),
});
