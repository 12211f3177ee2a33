import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import pg from 'pg';

import { openDatabase } from '../../src/database/database.ts';
import { createIntake } from '../../src/intake/intake.ts';
import { memoryBus } from '../../src/live/bus-memory.ts';
import { createLog } from '../../src/log.ts';
import { projectRoot } from '../../src/project-root.ts';
import { LOAD_TENANT, setUpLoad } from '../../test/support/load.ts';
import { median } from '../fanout/table.ts';
import { commandsFor, take } from './queue.ts';

/** Minimum ratio of the throughput with an old snapshot to that without. */
const GOAL = 0.8;
const BATCH = 200;
const WARM_UP = 2_000;

export interface SnapshotOptions {
  server: string;
  mails: number;
  rounds: number;
  print: (line: string) => void;
}

/**
 * Compares the throughput of queueing and sending mails with that while another connection holds a snapshot from before,
 * which keeps every older version of a row. The rounds take turns. They use one dispatcher and a local SMTP server.
 */
export async function compareSnapshots({ server, mails, rounds, print }: SnapshotOptions): Promise<void> {
  const setup = await setUpLoad(server);
  const sinks = fork(join(projectRoot, 'bench', 'sinks.ts'));
  const [{ smtpPort }] = (await once(sinks, 'message')) as [{ smtpPort: number }];
  const tenants = await mkdtemp(join(tmpdir(), 'notification-bench-'));
  const email = { provider: 'smtp', config: { host: '127.0.0.1', port: smtpPort, from: 'load@vas.example' } };
  await writeFile(join(tenants, `${LOAD_TENANT}.json`), JSON.stringify({ channels: { email } }));
  const dispatcher = startDispatcher({ ...setup.env, TENANT_CONFIG_SECRET_PATH: tenants });
  const log = createLog('silent');
  const database = openDatabase({ url: setup.databaseUrl, log, poolSize: 2 });
  const intake = createIntake({ database, bus: memoryBus(), log });
  const observer = await connect(setup.databaseUrl);
  let taken = 0;

  /** Queues mails and waits until all are sent. @returns mails per second. */
  const send = async (count: number): Promise<number> => {
    const startedAt = performance.now();
    for (const end = taken + count; taken < end; taken += BATCH) {
      await take(intake, commandsFor([LOAD_TENANT], taken, BATCH));
    }
    await untilSent(observer);
    return (count * 1_000) / (performance.now() - startedAt);
  };
  const sendWithSnapshot = async (): Promise<number> => {
    const holder = await connect(setup.databaseUrl);
    await holder.query('begin isolation level repeatable read');
    await holder.query('select 1');
    const perSecond = await send(mails);
    await holder.query('commit');
    await holder.end();
    return perSecond;
  };

  await send(WARM_UP);
  const found = { without: [] as number[], snapshot: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    // Every second round has the other order, because the tables grow.
    for (const way of round % 2 === 0 ? (['without', 'snapshot'] as const) : (['snapshot', 'without'] as const)) {
      await observer.query('vacuum analyze');
      const perSecond = way === 'snapshot' ? await sendWithSnapshot() : await send(mails);
      found[way].push(perSecond);
    }
  }
  const [without, withSnapshot] = [median(found.without), median(found.snapshot)];
  const ratio = withSnapshot / without;
  print(
    `${mails} mails queued and sent: ${without.toFixed(0)}/s, with an old snapshot ${withSnapshot.toFixed(0)}/s, ` +
      `ratio ${ratio.toFixed(2)}, >= ${GOAL} ${ratio >= GOAL ? 'met' : 'missed'} (medians of ${rounds} rounds)\n`,
  );

  dispatcher.kill('SIGTERM');
  if (dispatcher.exitCode === null) await once(dispatcher, 'exit');
  sinks.disconnect();
  await observer.end();
  await database.close();
  await setup.close();
  await rm(tenants, { recursive: true });
}

const startDispatcher = (env: Record<string, string>): ChildProcess =>
  spawn(process.execPath, [join(projectRoot, 'dist/src/main.js')], {
    env: {
      ...process.env,
      ...env,
      LOG_LEVEL: 'warn',
      ROLES: 'dispatcher',
      SERVICE_PORT: '0',
      OUTBOUND_ALLOW: '127.0.0.1',
    },
    stdio: 'inherit',
  });

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
}

const POLL_MS = 50;

async function untilSent(observer: pg.Client): Promise<void> {
  for (const deadline = performance.now() + 600_000; performance.now() < deadline;) {
    // The partial index has only unfinished records.
    const { rows } = await observer.query(
      `select from notification_log where status in ('queued', 'sending', 'retrying') limit 1`,
    );
    if (rows.length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error('the mails were not sent within 10 minutes');
}
