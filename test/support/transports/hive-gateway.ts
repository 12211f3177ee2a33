import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { projectRoot } from '../../../src/project-root.ts';

export interface HiveGateway {
  url: string;
  close(): Promise<void>;
}

/** A real Hive Gateway before one subgraph, to which it carries subscriptions over WebSocket or server-sent events. */
export async function startHiveGateway(subgraphUrl: string, subscriptions: 'ws' | 'sse'): Promise<HiveGateway> {
  const sdl = await readFile(join(projectRoot, 'schema', 'subgraph.graphql'), 'utf8');
  const child = spawn(process.execPath, [join(import.meta.dirname, 'hive.ts')], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: {
      ...process.env,
      SUBGRAPH_URL: `${subgraphUrl}/graphql`,
      SUBGRAPH_SDL: sdl,
      SUBSCRIPTIONS: subscriptions,
      NODE_ENV: 'production',
      NODE_OPTIONS: '',
    },
  });
  const [{ url }] = (await once(child, 'message')) as [{ url: string }];
  return {
    url,
    close: async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}
