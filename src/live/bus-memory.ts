import { PubSub } from 'graphql-subscriptions';

import type { Bus } from './bus.ts';
import { engineBus } from './engine-bus.ts';

/** Creates a bus within one process. */
export function memoryBus(): Bus {
  return {
    ...engineBus(new PubSub()),
    onGap: () => {},
    ping: async () => {},
    close: async () => {},
  };
}
