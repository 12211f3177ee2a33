import { Redis } from 'ioredis';

import { tcpProxy } from '../support/tcp-proxy.ts';
import { freePort, inNewDirectory, run, type ServerProcess, startServerProcess, untilItAnswers } from './processes.ts';

/** A Redis for one suite, which can disturb it. It stores nothing on disk. */
export interface OwnRedis {
  /** Stays the same after a restart. */
  url: string;
  start(): Promise<void>;
  /** Kills the server without a shutdown. */
  kill(): Promise<void>;
  restart(): Promise<void>;
  /** Cuts all connections that have subscriptions, or all others. */
  killConnections(type: 'pubsub' | 'normal'): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a server if `redis-server` is installed; otherwise a proxy to the server at `sharedUrl`. */
export async function ownRedis(sharedUrl: string): Promise<OwnRedis> {
  const isInstalled = await run('redis-server', ['--version']).then(
    () => true,
    () => false,
  );
  return isInstalled ? startOwn() : proxyTo(new URL(sharedUrl));
}

async function proxyTo({ hostname, port }: URL): Promise<OwnRedis> {
  const proxy = await tcpProxy(hostname, Number(port || 6379));
  const restart = async (): Promise<void> => {
    await proxy.shut();
    await proxy.open();
  };
  return {
    url: `redis://127.0.0.1:${proxy.port}`,
    start: proxy.open,
    kill: proxy.shut,
    restart,
    killConnections: restart,
    stop: proxy.shut,
  };
}

async function startOwn(): Promise<OwnRedis> {
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  let server: ServerProcess | undefined;
  const ask = async <Answer>(question: (client: Redis) => Promise<Answer>): Promise<Answer> => {
    const client = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: () => null });
    client.on('error', () => {});
    try {
      await client.connect();
      return await question(client);
    } finally {
      client.disconnect();
    }
  };
  const own: OwnRedis = {
    url,
    start: async () => {
      const started = await inNewDirectory('own-redis', (directory) =>
        startServerProcess({
          command: 'redis-server',
          args: ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', '', '--appendonly', 'no'],
          directory,
          stopSignal: 'SIGKILL',
        }),
      );
      server = started;
      await untilItAnswers('Redis', () => ask(async (client) => void (await client.ping())), { process: started });
    },
    kill: async () => {
      await server?.stop();
      server = undefined;
    },
    restart: async () => {
      await own.kill();
      await own.start();
    },
    killConnections: async (type) => {
      await ask((client) => client.client('KILL', 'TYPE', type, 'SKIPME', 'yes'));
    },
    stop: () => own.kill(),
  };
  await own.start();
  return own;
}
