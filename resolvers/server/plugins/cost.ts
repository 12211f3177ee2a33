import type { ApolloServerPlugin } from '@apollo/server';

import type { GraphContext } from '../context.ts';
import type { AssertCost } from '../query-limits.ts';

/** Refuses an operation whose estimated cost is over the limit. */
export const costPlugin = (assertCost: AssertCost): ApolloServerPlugin<GraphContext> => ({
  requestDidStart: async () => ({
    didResolveOperation: async ({ document, request }) =>
      assertCost(document, request.operationName, request.variables ?? {}),
  }),
});
