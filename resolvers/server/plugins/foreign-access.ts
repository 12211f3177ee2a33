import type { ApolloServerPlugin } from '@apollo/server';

import type { GraphContext } from '../context.ts';
import { recordForeignAccess } from '../foreign-access.ts';
import { refusal } from './error-format.ts';

/**
 * Writes an audit event before a superadmin's operation in another tenant is executed. Runs after all other checks, so
 * that a refused operation is not recorded.
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
