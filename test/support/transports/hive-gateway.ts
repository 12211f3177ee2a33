import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { projectRoot } from '../../../src/project-root.ts';

/** How a gateway carries a subscription to a subgraph. */
export type SubgraphTransport = 'ws' | 'sse' | 'callback';

export type HiveUrls = Record<SubgraphTransport, string>;

/** What the gateways' process is told. */
export interface HiveStart {
  subgraphUrl: string;
  sdl: string;
}

export interface HiveGateways {
  /** Where each of them is, also before they stand before anything. */
  urls: HiveUrls;
  /** Puts them before a subgraph. */
  standBefore(serviceUrl: string): Promise<void>;
  close(): Promise<void>;
}

/** Real Hive Gateways, one for each way of carrying subscriptions. */
export async function startHiveGateways(): Promise<HiveGateways> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'hive.ts')], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: { ...process.env, NODE_ENV: 'production', NODE_OPTIONS: '' },
  });
  const exited = once(child, 'exit');
  const said = async (): Promise<unknown> => {
    const [message] = (await Promise.race([once(child, 'message'), exited.then(() => [])])) as unknown[];
    if (message === undefined) throw new Error('the gateways ended');
    return message;
  };
  const urls = (await said()) as HiveUrls;
  return {
    urls,
    standBefore: async (serviceUrl) => {
      const sdl = await readFile(join(projectRoot, 'schema', 'subgraph.graphql'), 'utf8');
      const start: HiveStart = { subgraphUrl: `${serviceUrl}/graphql`, sdl };
      child.send(start);
      await said();
    },
    close: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
