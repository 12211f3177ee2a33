import { type ChildProcess, fork, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import pg from 'pg';

import { projectRoot } from '../src/project-root.ts';
import { providePostgres } from '../test/services/postgres.ts';
import { LOAD_TENANT, setUpLoad } from '../test/support/load.ts';
import { sql } from '../test/support/sql.ts';
import { type BenchChannel, fillQueue } from './queue.ts';

// npm run bench:delivery -- --rows 10000 --channels email,in_app,webhook

const GOALS: Record<BenchChannel, number> = { email: 5, in_app: 15, webhook: 15 };
/** Ratio of two dispatchers to one. */
const TWO_GOALS: Partial<Record<BenchChannel, number>> = { in_app: 1.7, webhook: 1.7 };

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '10000' },
    channels: { type: 'string', default: 'email,in_app,webhook' },
    ways: { type: 'string', default: 'single,batched,two' },
  },
});
const rows = Number(values.rows);
const channels = values.channels.split(',') as BenchChannel[];

interface Measured {
  perSecond: number;
  /** CPU time of the measured processes, per event. */
  cpuMsPerEvent: number;
  /** CPU time of PostgreSQL, per event; NaN if it runs on another machine. */
  databaseMsPerEvent: number;
  /** Transactions of the database during the measurement, per event. */
  transactionsPerEvent: number;
}

const postgres = await providePostgres();
const setup = await setUpLoad(postgres.url);
const webhookKey = randomBytes(32).toString('base64');
const tenants = await mkdtemp(join(tmpdir(), 'notification-bench-'));
const sinks = fork(join(projectRoot, 'bench', 'sinks.ts'));
const [{ smtpPort, httpPort }] = (await once(sinks, 'message')) as [{ smtpPort: number; httpPort: number }];
const email = { provider: 'smtp', config: { host: '127.0.0.1', port: smtpPort, from: 'load@vas.example' } };
const webhook = { provider: 'webhook', config: { secrets: [`whsec_${webhookKey}`] } };
await writeFile(join(tenants, `${LOAD_TENANT}.json`), JSON.stringify({ channels: { email, webhook } }));

const env = {
  ...process.env,
  ...setup.env,
  LOG_LEVEL: 'warn',
  ROLES: 'dispatcher',
  SERVICE_PORT: '0',
  TENANT_CONFIG_SECRET_PATH: tenants,
  OUTBOUND_ALLOW: '127.0.0.1',
  SMTP_PORT: String(smtpPort),
  WEBHOOK_KEY: webhookKey,
};

const hasTaskset = existsSync('/usr/bin/taskset');
/** Starts a script, pinned to a core if `taskset` is available. */
const start = (script: string, core = 0): ChildProcess =>
  hasTaskset
    ? spawn('taskset', ['-c', String(core), process.execPath, join(projectRoot, script)], { env, stdio: 'inherit' })
    : spawn(process.execPath, [join(projectRoot, script)], { env, stdio: 'inherit' });

/**
 * Returns the user and system time of processes, in milliseconds (100 ticks per second on Linux). NaN when one of them
 * does not run on this machine.
 */
function cpuMs(pids: (number | undefined)[]): number {
  return pids
    .map((pid) => {
      if (!existsSync(`/proc/${pid}/stat`)) return Number.NaN;
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
      return (Number(fields[11]) + Number(fields[12])) * 10;
    })
    .reduce((sum, ms) => sum + ms, 0);
}

const transactions = async (): Promise<number> => {
  const [row] = await sql<{ n: number }>(
    setup.databaseUrl,
    'select (xact_commit)::int as n from pg_stat_database where datname = current_database()',
  );
  return row?.n ?? 0;
};

/** One connection with a low polling rate, so that polling does not load the measured database. */
const observer = new pg.Client({ connectionString: setup.databaseUrl });
await observer.connect();
const POLL_MS = 50;

/** Returns the CPU time of the connections of the database, in milliseconds. */
async function databaseMs(): Promise<number> {
  const { rows: found } = await observer.query<{ pid: number }>(
    `select pid from pg_stat_activity where datname = current_database() and backend_type = 'client backend'`,
  );
  return cpuMs(found.map(({ pid }) => pid));
}

/** Waits until at least this number of events is sent. @returns the number of sent events. */
async function untilSent(atLeast: number): Promise<number> {
  for (const deadline = performance.now() + 600_000; performance.now() < deadline;) {
    const { rows: found } = await observer.query<{ n: number }>(
      `select count(*)::int as n from notification_log where status = 'sent'`,
    );
    const sent = found[0]?.n ?? 0;
    if (sent >= atLeast) return sent;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(`fewer than ${atLeast} events were sent within 10 minutes`);
}

async function measure(channel: BenchChannel, script: string, dispatchers = 1): Promise<Measured> {
  await fillQueue(setup.databaseUrl, channel, rows, { httpPort });
  const before = await transactions();
  const children = Array.from({ length: dispatchers }, (_none, core) => start(script, core));
  const look = async (atLeast: number) => ({
    sent: await untilSent(atLeast),
    at: performance.now(),
    cpu: cpuMs(children.map(({ pid }) => pid)),
    databaseCpu: await databaseMs(),
  });
  // Measured from the first sent event, so that the start of the processes does not count.
  const first = await look(1);
  const last = await look(rows);
  for (const child of children) child.kill('SIGTERM');
  await Promise.all(children.map((child) => child.exitCode ?? once(child, 'exit')));
  const events = last.sent - first.sent;
  return {
    perSecond: (events * 1_000) / (last.at - first.at),
    cpuMsPerEvent: (last.cpu - first.cpu) / events,
    databaseMsPerEvent: (last.databaseCpu - first.databaseCpu) / events,
    transactionsPerEvent: ((await transactions()) - before) / rows,
  };
}

const line = (channel: BenchChannel, name: string, measured: Measured): string =>
  `${channel.padEnd(8)} ${name.padEnd(16)} ${measured.perSecond.toFixed(0).padStart(7)}/s ` +
  `${measured.cpuMsPerEvent.toFixed(2).padStart(6)} ms CPU an event, PostgreSQL ${measured.databaseMsPerEvent.toFixed(2)} ms, ` +
  `${measured.transactionsPerEvent.toFixed(2)} transactions`;

/** What is measured, in this order. */
const WAYS = {
  single: { name: 'one at a time', script: 'bench/one-at-a-time.ts', dispatchers: 1 },
  batched: { name: 'batched', script: 'dist/src/main.js', dispatchers: 1 },
  two: { name: 'two dispatchers', script: 'dist/src/main.js', dispatchers: 2 },
};
type Way = keyof typeof WAYS;
const ways = (Object.keys(WAYS) as Way[]).filter((way) => values.ways.split(',').includes(way));

const verdict = (ratio: number, goal: number | undefined): string =>
  `${ratio.toFixed(2)}${goal === undefined ? '' : ` (goal ${goal}, ${ratio >= goal ? 'met' : 'missed'})`}`;

for (const channel of channels) {
  const found: Partial<Record<Way, Measured>> = {};
  for (const way of ways) {
    const { name, script, dispatchers } = WAYS[way];
    const measured = await measure(channel, script, dispatchers);
    found[way] = measured;
    process.stdout.write(`${line(channel, name, measured)}\n`);
  }
  const { single, batched, two } = found;
  if (single && batched) {
    const ratio = batched.perSecond / single.perSecond;
    process.stdout.write(`${channel.padEnd(8)} batched : one at a time ${verdict(ratio, GOALS[channel])}\n`);
  }
  if (batched && two) {
    const ratio = two.perSecond / batched.perSecond;
    process.stdout.write(`${channel.padEnd(8)} two dispatchers : one ${verdict(ratio, TWO_GOALS[channel])}\n`);
  }
}
process.stdout.write(`${rows} events each, ${hasTaskset ? 'each process pinned to one core' : 'not pinned'}\n`);

await observer.end();
sinks.disconnect();
await setup.close();
await rm(tenants, { recursive: true });
await postgres.stop();
process.exit(0);
