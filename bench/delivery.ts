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

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '10000' },
    channels: { type: 'string', default: 'email,in_app,webhook' },
  },
});
const rows = Number(values.rows);
const channels = values.channels.split(',') as BenchChannel[];

interface Measured {
  perSecond: number;
  cpuMsPerEvent: number;
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
/** Starts a script, pinned to one core if `taskset` is available. */
const start = (script: string, ...flags: string[]): ChildProcess =>
  hasTaskset
    ? spawn('taskset', ['-c', '0', process.execPath, ...flags, join(projectRoot, script)], { env, stdio: 'inherit' })
    : spawn(process.execPath, [...flags, join(projectRoot, script)], { env, stdio: 'inherit' });

/** Returns the user and system time of a process, in milliseconds (100 ticks per second on Linux). */
function cpuMs(pid: number | undefined): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
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

async function measure(channel: BenchChannel, script: string): Promise<Measured> {
  await fillQueue(setup.databaseUrl, channel, rows, { httpPort });
  const before = await transactions();
  const child = start(script);
  // Measured from the first sent event, so that the start of the process does not count.
  const first = { sent: await untilSent(1), at: performance.now(), cpu: cpuMs(child.pid) };
  const last = { sent: await untilSent(rows), at: performance.now(), cpu: cpuMs(child.pid) };
  child.kill('SIGTERM');
  await once(child, 'exit');
  const events = last.sent - first.sent;
  return {
    perSecond: (events * 1_000) / (last.at - first.at),
    cpuMsPerEvent: (last.cpu - first.cpu) / events,
    transactionsPerEvent: ((await transactions()) - before) / rows,
  };
}

const lines: string[] = [];
for (const channel of channels) {
  const single = await measure(channel, 'bench/one-at-a-time.ts');
  const batched = await measure(channel, 'dist/src/main.js');
  const ratio = batched.perSecond / single.perSecond;
  const row = (name: string, { perSecond, cpuMsPerEvent, transactionsPerEvent }: Measured): string =>
    `${channel.padEnd(8)} ${name.padEnd(16)} ${perSecond.toFixed(0).padStart(7)}/s ` +
    `${cpuMsPerEvent.toFixed(2).padStart(6)} ms CPU an event ${transactionsPerEvent.toFixed(2).padStart(6)} transactions an event`;
  lines.push(
    row('one at a time', single),
    row('batched', batched),
    `${channel.padEnd(8)} ratio ${ratio.toFixed(1)} (goal ${GOALS[channel]})`,
  );
  process.stdout.write(`${lines.slice(-3).join('\n')}\n`);
}
process.stdout.write(`${rows} events each, ${hasTaskset ? 'each way pinned to one core' : 'not pinned'}\n`);

await observer.end();
sinks.disconnect();
await setup.close();
await rm(tenants, { recursive: true });
await postgres.stop();
process.exit(0);
