import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { providePostgres } from '../test/services/postgres.ts';
import { type ChildService, startChild } from '../test/support/child.ts';
import { eventually } from '../test/support/eventually.ts';
import { startLeanSmtp } from '../test/support/lean-smtp.ts';
import { LOAD_TENANT, loadEvent, postUntilAccepted, setUpLoad } from '../test/support/load.ts';
import { sql } from '../test/support/sql.ts';
import { fillQueue } from './queue.ts';

// npm run bench:neighbours -- --flood 100000 --mails 300
//
// Effect of one tenant on another: a queue of 100 000 mails, and a relay that accepts connections but never answers.
// Both are compared with the tenant alone, in the same run.

const { values } = parseArgs({
  options: { flood: { type: 'string', default: '100000' }, mails: { type: 'string', default: '300' } },
});
const mails = Number(values.mails);
const NOISY = 'tenant-noisy';

const postgres = await providePostgres();
const setup = await setUpLoad(postgres.url, [LOAD_TENANT, NOISY]);
const relay = await startLeanSmtp();
const tarpit = createServer((socket) => socket.on('error', () => {}));
await new Promise<void>((resolve) => tarpit.listen(0, '127.0.0.1', resolve));
const tarpitPort = (tarpit.address() as { port: number }).port;
const folder = await mkdtemp(join(tmpdir(), 'notification-bench-'));
const tenantFile = (tenant: string, port: number): Promise<void> =>
  writeFile(
    join(folder, `${tenant}.json`),
    JSON.stringify({
      channels: { email: { provider: 'smtp', config: { host: '127.0.0.1', port, from: 'x@vas.example' } } },
    }),
  );

/** Sends mails one after another. @returns sorted times from acceptance to the status `sent`, in milliseconds. */
async function latencies(child: ChildService, count: number): Promise<number[]> {
  const [{ at }] = (await sql<{ at: Date }>(setup.databaseUrl, 'select now() as at')) as [{ at: Date }];
  for (let number = 0; number < count; number += 1) {
    await postUntilAccepted(() => [child], setup.producerToken, [loadEvent('email', number)]);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const rows = await eventually(
    async () => {
      const found = await sql<{ ms: number }>(
        setup.databaseUrl,
        `select extract(epoch from sent_at - created_at)::float8 * 1000 as ms from notification_log
         where tenant_id = $1 and created_at >= $2 and status = 'sent'`,
        [LOAD_TENANT, at],
      );
      return found.length === count && found;
    },
    'the mails',
    120_000,
  );
  return rows.map(({ ms }) => ms).toSorted((a, b) => a - b);
}

const percentile = (sorted: number[], share: number): number =>
  sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN;

/** Uses a new service for each measurement, so that they are independent. */
async function measure(noisyPort: number, flood: number, count: number): Promise<number[]> {
  await Promise.all([tenantFile(LOAD_TENANT, relay.port), tenantFile(NOISY, noisyPort)]);
  await fillQueue(setup.databaseUrl, 'email', flood, { tenant: NOISY });
  const child = await startChild({ ...setup.env, LOG_LEVEL: 'info', TENANT_CONFIG_SECRET_PATH: folder });
  // Waits until the other tenant's deliveries have started, so that the steady state is measured.
  const started = Math.min(flood, 500);
  await eventually(async () => {
    const [row] = await sql<{ n: number }>(
      setup.databaseUrl,
      `select count(*)::int as n from notification_log where tenant_id = $1 and status <> 'queued'`,
      [NOISY],
    );
    return (row?.n ?? 0) >= started;
  }, 'the deliveries of the other tenant');
  // Warm-up.
  await latencies(child, 50);
  const measured = await latencies(child, count);
  await child.kill('SIGKILL');
  return measured;
}

const alone = await measure(relay.port, 0, mails);
const besideTarpit = await measure(tarpitPort, 2_000, mails);
const besideFlood = await measure(relay.port, Number(values.flood), 50);

const show = (name: string, sorted: number[]): void => {
  const [p50, p99, max] = [percentile(sorted, 0.5), percentile(sorted, 0.99), sorted.at(-1) ?? Number.NaN];
  process.stdout.write(
    `${name.padEnd(34)} p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, max ${max.toFixed(0)} ms\n`,
  );
};
show('alone', alone);
show('with a relay that never answers', besideTarpit);
show(`with ${values.flood} queued mails`, besideFlood);
process.stdout.write(
  `p99 ratio with the relay that never answers ${(percentile(besideTarpit, 0.99) / percentile(alone, 0.99)).toFixed(2)} (goal 1.2); ` +
    `longest delay with the queue ${((besideFlood.at(-1) ?? 0) / 1_000).toFixed(2)} s (goal 1)\n`,
);

tarpit.close();
await relay.close();
await setup.close();
await rm(folder, { recursive: true });
await postgres.stop();
process.exit(0);
