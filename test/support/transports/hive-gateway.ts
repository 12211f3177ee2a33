import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { projectRoot } from '../../../src/project-root.ts';
import { hiveGatewayScript } from '../peers.ts';

/** A way in which a gateway subscribes to a subgraph. */
export type SubgraphTransport = 'ws' | 'sse' | 'callback';

export type HiveUrls = Record<SubgraphTransport, string>;

/** Message to the process of the gateways. */
export interface HiveStart {
  subgraphUrl: string;
  sdl: string;
}

export interface HiveGateways {
  /** URLs of the gateways, known before they have a subgraph. */
  urls: HiveUrls;
  /** Configures the subgraph of the gateways. */
  standBefore(serviceUrl: string): Promise<void>;
  close(): Promise<void>;
}

/** Starts one Hive Gateway for each way of subscribing. */
export async function startHiveGateways(): Promise<HiveGateways> {
  const child = spawn(process.execPath, [hiveGatewayScript], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: { ...process.env, NODE_ENV: 'production', NODE_OPTIONS: '' },
  });
  const exited = once(child, 'exit');
  const said = async (): Promise<unknown> => {
    const [message] = (await Promise.race([once(child, 'message'), exited.then(() => [])])) as unknown[];
    if (message === undefined) throw new Error('the process of the gateways exited');
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
