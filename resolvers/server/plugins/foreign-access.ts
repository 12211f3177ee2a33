import type { ApolloServerPlugin } from '@apollo/server';

import type { GraphContext } from '../context.ts';
import { recordForeignAccess } from '../foreign-access.ts';
import { refusal } from './error-format.ts';

/**
 * Writes an audit event before a superadmin's operation in another tenant is executed. It waits for every other rule, so
 * that a refused operation leaves no event.
 */
export const foreignAccessPlugin: ApolloServerPlugin<GraphContext> = {
  requestDidStart: async () => ({
    responseForOperation: async ({ document, request, contextValue }) => {
      try {
        await recordForeignAccess(document, request.operationName, contextValue);
        return null;
      } catch (error) {
        return refusal(error);
      }
    },
  }),
};
