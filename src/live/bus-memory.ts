import { PubSub } from 'graphql-subscriptions';

import type { Bus } from './bus.ts';
import { engineBus } from './engine-bus.ts';

/** A bus within this process, for one that runs alone. */
export function memoryBus(): Bus {
  return {
    ...engineBus(new PubSub()),
    onGap: () => {},
    ping: async () => {},
    close: async () => {},
  };
}
