import { availableParallelism, loadavg } from 'node:os';
import { parseArgs } from 'node:util';

import { type Database, openDatabase } from '../src/database/database.ts';
import { createLog } from '../src/log.ts';
import { providePostgres } from '../test/services/postgres.ts';
import { sql } from '../test/support/sql.ts';
import { type Durations, measure, type Plan, type Step, table } from './growth/measure.ts';
import { queueStep } from './growth/queue.ts';
import { readSteps } from './growth/reads.ts';
import { deleteOldest, dropStep, expiryStep } from './growth/retention.ts';
import { type Size, tenantNames } from './growth/rows.ts';
import { seed, type SeededDatabase } from './growth/seed.ts';
import { compareSnapshots } from './growth/snapshot.ts';

// npm run bench:growth -- --rows 100000,1000000,10000000 --tenants 10,1000,10000 --rounds 7 --only reads,queue,retention,snapshot

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '100000,1000000,10000000' },
    tenants: { type: 'string', default: '10,1000,10000' },
    rounds: { type: 'string', default: '7' },
    mails: { type: 'string', default: '20000' },
    only: { type: 'string', default: 'reads,queue,retention,snapshot' },
    keep: { type: 'boolean', default: false },
  },
});
const numbers = (list: string): number[] => list.split(',').map(Number);
const [rows, tenants] = [numbers(values.rows), numbers(values.tenants)];
const parts = new Set(values.only.split(','));
const rounds = Number(values.rounds);
const print = (text: string): void => void process.stdout.write(text);

/** The middle of each list is the other dimension's fixed value. */
const middle = (list: number[]): number => list[Math.floor(list.length / 2)] as number;
const byRows = rows.map((count): Size => ({ rows: count, tenants: middle(tenants) }));
const byTenants = tenants.map((count): Size => ({ rows: middle(rows), tenants: count }));

const postgres = await providePostgres();

interface Subject {
  seeded: SeededDatabase;
  database: Database;
}

const subjects = new Map<string, Subject>();
const keyOf = (size: Size): string => `${size.rows}/${size.tenants}`;

async function subjectOf(size: Size): Promise<Subject> {
  const known = subjects.get(keyOf(size));
  if (known) return known;
  const startedAt = performance.now();
  const seeded = await seed(postgres.url, size);
  print(
    `${size.rows} records of ${size.tenants} tenants: seeded in ${((performance.now() - startedAt) / 1_000).toFixed(0)} s\n`,
  );
  // One connection for each role, because each plans its statements itself.
  const subject = { seeded, database: openDatabase({ url: seeded.url, log: createLog('silent'), poolSize: 1 }) };
  subjects.set(keyOf(size), subject);
  return subject;
}

/** Runs the steps of one part on all databases. */
async function measurePart(
  subjectList: Subject[],
  stepsOf: (subject: Subject) => Promise<Step[]>,
  plan: Partial<Plan> = {},
): Promise<Durations> {
  const startedAt = performance.now();
  const steps: Step[][] = [];
  for (const subject of subjectList) steps.push(await stepsOf(subject));
  const found = await measure(steps, { rounds, repetitions: 5, warmUps: 8, ...plan });
  print(`${found.size} operations measured in ${((performance.now() - startedAt) / 1_000).toFixed(0)} s\n`);
  return found;
}

const DEPTH = 2_000;
/** Number of tenants with due events in the first queue. */
const FEW = 10;

/** Returns tenants from all over the order of their ids. */
const someOf = (names: string[], count: number): string[] =>
  Array.from(
    { length: Math.min(count, names.length) },
    (_none, index) => names[Math.floor((index * names.length) / Math.min(count, names.length))] as string,
  );

/** Deletes the unfinished records of a queue, so that the next one starts from the same state. */
async function emptyQueue({ seeded: { url } }: Subject): Promise<void> {
  await sql(url, `delete from notification_log where status in ('queued', 'sending', 'retrying')`);
  await sql(url, 'vacuum analyze notification_log');
}

const durations: Durations = new Map();
const keep = (found: Durations): void => found.forEach((ms, name) => durations.set(name, ms));

const sizes = [...new Map([...byRows, ...byTenants].map((size) => [keyOf(size), size])).values()];
const measured: Subject[] = [];
if (['reads', 'queue', 'retention'].some((part) => parts.has(part))) {
  for (const size of sizes) measured.push(await subjectOf(size));
}
if (parts.has('reads')) keep(await measurePart(measured, ({ seeded, database }) => readSteps(seeded, database)));
if (parts.has('queue')) {
  const few = async ({ seeded, database }: Subject): Promise<Step[]> => [
    await queueStep(database, someOf(tenantNames(seeded.tenants), FEW), DEPTH, `, ${FEW} tenants due`),
  ];
  keep(await measurePart(measured, few));
  for (const subject of measured) await emptyQueue(subject);
  const every = async ({ seeded, database }: Subject): Promise<Step[]> => [
    await queueStep(database, tenantNames(seeded.tenants), Math.max(DEPTH, 2 * seeded.tenants), ', all tenants due'),
  ];
  keep(await measurePart(measured, every));
  for (const subject of measured) await emptyQueue(subject);
}
if (parts.has('retention')) {
  const expiry = async ({ seeded, database }: Subject): Promise<Step[]> => [expiryStep(seeded, database)];
  keep(await measurePart(measured, expiry, { rounds: 3, repetitions: 1, warmUps: 1 }));
  const drop = async ({ seeded, database }: Subject): Promise<Step[]> => [dropStep(seeded, database)];
  keep(await measurePart(measured, drop, { rounds: 3, repetitions: 1, warmUps: 0 }));
}

const columnsOf = (of: Size[]): Durations => {
  const indexes = of.map((size) => sizes.findIndex((known) => keyOf(known) === keyOf(size)));
  return new Map([...durations].map(([name, found]) => [name, indexes.map((index) => found[index] ?? [])]));
};
const short = (count: number): string =>
  `${count >= 1e6 ? `${count / 1e6} M` : count >= 1e3 ? `${count / 1e3} k` : count}`;
if (durations.size > 0) {
  print(
    table(
      `${middle(tenants)} tenants; ms`,
      rows.map((count) => `${short(count)} rows`),
      columnsOf(byRows),
    ),
  );
  print(
    table(
      `${short(middle(rows))} rows; ms`,
      tenants.map((count) => `${short(count)} tenants`),
      columnsOf(byTenants),
    ),
  );
}
if (parts.has('retention')) {
  const largest = subjects.get(keyOf(byRows.at(-1) as Size)) as Subject;
  const { removed, seconds } = await deleteOldest(
    largest.seeded,
    largest.database,
    Math.min(1_000_000, largest.seeded.rows / 10),
  );
  print(`${removed} records of one tenant deleted from months of other tenants in ${seconds.toFixed(1)} s\n`);
}
for (const { seeded, database } of measured) {
  await database.close();
  if (values.keep) print(`kept ${seeded.url}\n`);
  else await seeded.drop();
}
if (parts.has('snapshot')) {
  await compareSnapshots({ server: postgres.url, mails: Number(values.mails), rounds: 3, print });
}
const [settings] = await sql<{ text: string }>(
  postgres.url,
  `select string_agg(name || ' ' || current_setting(name), ', ' order by name) as text from pg_settings
   where name in ('autovacuum', 'fsync', 'full_page_writes', 'server_version', 'shared_buffers')`,
);
print(
  `${availableParallelism()} cores, load ${loadavg()
    .map((load) => load.toFixed(1))
    .join(' ')}; PostgreSQL with ${settings?.text}\n`,
);
await postgres.stop();
process.exit(0);
