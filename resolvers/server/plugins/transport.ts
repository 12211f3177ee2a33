import type { ApolloServerPlugin } from '@apollo/server';
import { OperationTypeNode } from 'graphql';

import { AppError } from '../../../src/errors.ts';
import type { GraphContext } from '../context.ts';
import { refusal } from './error-format.ts';

/** Refuses a subscription that came as a plain HTTP request, after every other rule has been checked. */
export const transportPlugin: ApolloServerPlugin<GraphContext> = {
  requestDidStart: async () => ({
    responseForOperation: async ({ operation }) => {
      if (operation.operation !== OperationTypeNode.SUBSCRIPTION) return null;
      return refusal(
        new AppError(
          'validation_failed',
          'Subscriptions run over a WebSocket (graphql-transport-ws), as text/event-stream, or with a callback.',
        ),
      );
    },
  }),
};
