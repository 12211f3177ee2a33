import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';

import { nextMessage, startServer } from '../fanout/processes.ts';

export interface Server {
  process: ChildProcess;
  /** URL of `/events`. */
  url: string;
}

type Start = (env: Record<string, string>) => Promise<Server>;

const textbook =
  (script: string): Start =>
  async (env) => {
    const process = startServer(script, { env });
    const { url } = await nextMessage<{ url: string }>(process, 'url');
    return { process, url };
  };

/** The whole service with the role `consumer`, with its log at the default level. */
const service: Start = async (env) => {
  const process = startServer('dist/src/main.js', {
    env: { ...env, ROLES: 'consumer', SERVICE_PORT: '0' },
    stdout: 'pipe',
  });
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: process.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      if (!line.includes('"service is up"')) return;
      resolve(`${(JSON.parse(line) as { url: string }).url}/events`);
    });
    process.once('exit', (code) => reject(new Error(`the service exited with code ${code}`)));
  });
  return { process, url };
};

/** The implementations of each transport. The first one is the base of the ratios. */
export const SERVERS: Record<'http' | 'kafka', { name: string; start: Start }[]> = {
  http: [
    { name: 'textbook', start: textbook('bench/intake/textbook-http.ts') },
    { name: 'service', start: service },
  ],
  kafka: [
    { name: 'textbook', start: textbook('bench/intake/textbook-kafka.ts') },
    { name: 'service', start: service },
  ],
};
