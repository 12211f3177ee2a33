import { randomUUID } from 'node:crypto';

import type { Contestant } from './contestant.ts';
import { NOTIFICATION_CREATED } from './event.ts';
import { ask, end, nextMessage, startLoad, startServer } from './processes.ts';

/** Starts a server of this folder that receives its events from Redis. */
function overRedis(name: string, script: string): Contestant {
  return {
    name,
    start: async () => {
      const env = {
        REDIS_URL: process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379',
        // Unique, because other servers may use the same Redis.
        FANOUT_CHANNEL: `fanout-${randomUUID()}`,
      };
      const server = startServer(script, { env });
      const { port } = await nextMessage<{ port: number }>(server, 'port');
      const producer = startLoad('bench/fanout/producer.ts', { env });
      return {
        process: server,
        target: { url: `ws://127.0.0.1:${port}/graphql`, query: NOTIFICATION_CREATED },
        publish: async (count) => {
          await ask<{ published: number }>(producer, { publish: count }, 'published');
        },
        stop: async () => {
          await Promise.all([end(producer), end(server, 'SIGKILL')]);
        },
      };
    },
  };
}

/** The baseline. */
export const textbook = overRedis('textbook', 'bench/fanout/textbook-server.ts');
/** The upper limit: prepared frames. */
export const raw = overRedis('raw', 'bench/fanout/raw-server.ts');
