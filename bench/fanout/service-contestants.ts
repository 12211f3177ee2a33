import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';

import { devIdentity } from '../../src/identity/dev-keys.ts';
import { providePostgres } from '../../test/services/postgres.ts';
import { LOAD_TENANT, setUpLoad } from '../../test/support/load.ts';
import { type Contestant, type Goals, GOALS, type Target } from './contestant.ts';
import { NOTIFICATION_CREATED } from './event.ts';
import { ask, end, startLoad, startServer } from './processes.ts';

const USER = 'fanout-user';
const TOPIC = 'fanout';
/** Limit of sockets, higher than any run needs. */
const LIMIT = '100000';

interface Way {
  name: string;
  goals?: Goals;
  /** `signal`: published through Redis, like for the other servers. `inbox`: written to and read from the database. */
  events: 'signal' | 'inbox';
  path: '/graphql' | '/stream';
}

/** Starts this service with its usual configuration. */
function service({ name, goals, events, path }: Way): Contestant {
  return {
    name,
    ...(goals && { goals }),
    start: async () => {
      const postgres = await providePostgres();
      const setup = await setUpLoad(postgres.url);
      const redisUrl = process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379';
      const env = {
        ...setup.env,
        REDIS_URL: redisUrl,
        ROLES: 'api',
        SERVICE_PORT: '0',
        LIVE_MAX_SOCKETS: LIMIT,
        LIVE_MAX_SOCKETS_PER_TENANT: LIMIT,
        LIVE_MAX_SOCKETS_PER_USER: LIMIT,
      };
      const server = startServer('dist/src/main.js', { env, stdout: 'pipe' });
      const url = await urlOf(server);
      const identity = await devIdentity(setup.env['DATA_PATH'] as string);
      const token = await identity.issueToken({ sub: USER, tenant_id: LOAD_TENANT }, '2h');
      const producer = startLoad('bench/fanout/producer.ts', {
        env: {
          REDIS_URL: redisUrl,
          DATABASE_URL: setup.databaseUrl,
          FANOUT_EVENTS: events,
          FANOUT_TENANT: LOAD_TENANT,
          FANOUT_USER: USER,
          FANOUT_TOPIC: TOPIC,
        },
      });
      const target: Target = {
        url: `${url.replace('http', 'ws')}${path}`,
        ...(events === 'inbox'
          ? { query: NOTIFICATION_CREATED }
          : {
              query: 'subscription ($topic: String!) { topicMessage(topic: $topic) { data } }',
              variables: { topic: TOPIC },
            }),
        ...(path === '/stream' && { dialect: new URL('sealed-dialect.ts', import.meta.url).href }),
      };
      return {
        process: server,
        target,
        connectionParams: () => ({ token }),
        publish: async (count) => {
          await ask<{ published: number }>(producer, { publish: count }, 'published');
        },
        stop: async () => {
          await Promise.all([end(producer), end(server, 'SIGKILL')]);
          await setup.close();
          await postgres.stop();
        },
      };
    },
  };
}

/** Reads the URL of the service from its log. Continues to read the log, so that the service does not block. */
function urlOf(server: ChildProcess): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  createInterface({ input: server.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    const { message, url } = JSON.parse(line) as { message?: string; url?: string };
    if (message === 'service is up') resolve(url as string);
  });
  server.once('exit', (code) => reject(new Error(`the service exited with code ${code}`)));
  return promise;
}

export const plain = service({ name: 'plain', goals: GOALS.plain, events: 'signal', path: '/graphql' });
export const sealed = service({ name: 'sealed', goals: GOALS.sealed, events: 'signal', path: '/stream' });
/** Every message is written to the database and read from it, unlike in the other servers. */
export const inbox = service({ name: 'inbox', events: 'inbox', path: '/graphql' });
export const inboxSealed = service({ name: 'inbox sealed', events: 'inbox', path: '/stream' });
