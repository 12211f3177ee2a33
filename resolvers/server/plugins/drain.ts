import type { ApolloServerPlugin } from '@apollo/server';

import type { GraphContext } from '../context.ts';

/** Stops accepting requests and waits for those that run, before Apollo Server refuses operations. */
export const drainPlugin = (drain: () => Promise<void>): ApolloServerPlugin<GraphContext> => ({
  serverWillStart: async () => ({ drainServer: drain }),
});
