import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

import { devIdentity } from '../src/identity/dev-keys.ts';
import { providePostgres } from '../test/services/postgres.ts';
import { setUpLoad } from '../test/support/load.ts';
import { ask, cpuMs, end, nextMessage, pinned, startLoad, startServer } from './fanout/processes.ts';
import { median } from './fanout/table.ts';
import { fillInbox, INBOX_PAGE, type LoadOrder, type LoadResult, PAGE, TENANT, USER } from './query/setup.ts';

// npm run bench:query -- --rows 1000000 --connections 32 --seconds 5 --rounds 3

const GOAL = 4;

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '1000000' },
    connections: { type: 'string', default: '32' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string' },
  },
});
const only = values.only?.split(',');

interface Server {
  process: ChildProcess;
  url: string;
}

const postgres = await providePostgres();
const setup = await setUpLoad(postgres.url);
await fillInbox(setup.databaseUrl, Number(values.rows));
const identity = await devIdentity(setup.env['DATA_PATH'] as string);
const token = await identity.issueToken({ sub: USER, tenant_id: TENANT }, '2h');

async function simple(script: string): Promise<Server> {
  const process = startServer(script, { env: setup.env });
  const { url } = await nextMessage<{ url: string }>(process, 'url');
  return { process, url };
}

async function service(): Promise<Server> {
  const env = { ...setup.env, ROLES: 'api', SERVICE_PORT: '0' };
  const process = startServer('dist/src/main.js', { env, stdout: 'pipe' });
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: process.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const { message, url: found } = JSON.parse(line) as { message?: string; url?: string };
      if (message === 'service is up') resolve(`${found}/graphql`);
    });
    process.once('exit', (code) => reject(new Error(`the service exited with code ${code}`)));
  });
  return { process, url };
}

const servers: Record<string, () => Promise<Server>> = {
  textbook: () => simple('bench/query/textbook-server.ts'),
  mercurius: () => simple('bench/peers/mercurius-server.ts'),
  service,
};
const names = Object.keys(servers).filter((name) => !only || only.includes(name));

/** All servers must return the same answer, or the comparison is invalid. */
async function answerOf(url: string): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ query: INBOX_PAGE, variables: { first: PAGE } }),
  });
  return response.json();
}

type Measured = LoadResult & { cpuMicros: number; answer: unknown };

async function measure(name: string): Promise<Measured> {
  const server = await (servers[name] as () => Promise<Server>)();
  const generator = startLoad('bench/peers/load.ts');
  const order: LoadOrder = { url: server.url, token, connections: Number(values.connections), seconds: 2 };
  const answer = await answerOf(server.url);
  await ask<LoadResult>(generator, order, 'answered');
  const before = cpuMs(server.process);
  const result = await ask<LoadResult>(generator, { ...order, seconds: Number(values.seconds) }, 'answered');
  const cpuMicros = ((cpuMs(server.process) - before) * 1_000) / result.answered;
  await end(generator);
  await end(server.process, 'SIGKILL');
  return { ...result, cpuMicros, answer };
}

const found = new Map<string, Measured[]>(names.map((name) => [name, []]));
for (let round = 1; round <= Number(values.rounds); round += 1) {
  for (const name of names) {
    const measured = await measure(name);
    found.get(name)?.push(measured);
    const { perSecond, cpuMicros, p50Ms, p99Ms } = measured;
    process.stdout.write(
      `round ${round} ${name.padEnd(10)} ${perSecond.toFixed(0).padStart(6)}/s ` +
        `${cpuMicros.toFixed(0).padStart(5)} µs CPU each, p50 ${p50Ms} ms, p99 ${p99Ms} ms\n`,
    );
  }
}

const answers = new Set([...found.values()].map(([first]) => JSON.stringify(first?.answer)));
const ratio = (name: string, of: (measured: Measured) => number): number =>
  median((found.get(name) ?? []).map(of)) / median((found.get(names[0] as string) ?? []).map(of));
for (const name of names) {
  const goal = name === 'service' ? ` (goal ${GOAL})` : '';
  process.stdout.write(
    `${name.padEnd(10)} ${ratio(name, ({ perSecond }) => perSecond).toFixed(1)}x by rate, ` +
      `${(1 / ratio(name, ({ cpuMicros }) => cpuMicros)).toFixed(1)}x by CPU${goal}\n`,
  );
}
process.stdout.write(
  `${values.rows} notifications, ${values.connections} connections, medians of ${values.rounds} rounds, ` +
    `${pinned ? 'server on core 0, load on core 1' : 'not pinned'}${answers.size > 1 ? '; THE ANSWERS DIFFER' : ''}\n`,
);
await setup.close();
await postgres.stop();
process.exit(0);
