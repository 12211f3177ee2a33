import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';

import { Kafka, logLevel } from 'kafkajs';

import { startKafka } from '../test/services/kafka/kafka.ts';
import { providePostgres } from '../test/services/postgres.ts';
import { setUpLoad } from '../test/support/load.ts';
import { sql } from '../test/support/sql.ts';
import { ask, cpuMs, end, pinned, startLoad } from './fanout/processes.ts';
import { median } from './fanout/table.ts';
import { fillTopic } from './intake/events.ts';
import type { LoadOrder, LoadResult } from './intake/load.ts';
import { type Server, SERVERS } from './intake/servers.ts';

// npm run bench:intake -- --seconds 5 --rounds 3 --only http

interface Case {
  name: string;
  transport: 'http' | 'kafka';
  goal?: number;
  /** Of HTTP. */
  connections: number;
  perRequest: number;
}

const CASES: Case[] = [
  { name: 'HTTP, 1 event, 8 connections', transport: 'http', connections: 8, perRequest: 1 },
  { name: 'HTTP, 1 event, 64 connections', transport: 'http', goal: 5, connections: 64, perRequest: 1 },
  { name: 'HTTP, 1 event, 256 connections', transport: 'http', goal: 5, connections: 256, perRequest: 1 },
  { name: 'HTTP, batches of 200', transport: 'http', goal: 15, connections: 8, perRequest: 200 },
  { name: 'Kafka, a full topic', transport: 'kafka', goal: 15, connections: 0, perRequest: 0 },
];

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    events: { type: 'string', default: '40000' },
    only: { type: 'string' },
  },
});
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);
const cases = CASES.filter(({ transport }) => values.only === undefined || values.only === transport);

interface Measured {
  perSecond: number;
  cpuMicros: number;
  p50Ms?: number;
}

const postgres = await providePostgres();
const setup = await setUpLoad(postgres.url);
const usesKafka = cases.some(({ transport }) => transport === 'kafka');
const broker = usesKafka ? await startKafka() : undefined;
const kafka = new Kafka({ brokers: [broker?.brokers ?? ''], logLevel: logLevel.NOTHING });

const emptyTables = (): Promise<unknown> => sql(setup.databaseUrl, 'truncate notification_log cascade');

async function measureHttp(server: Server, { connections, perRequest }: Case): Promise<Measured> {
  const generator = startLoad('bench/intake/load.ts');
  const order: LoadOrder = { url: server.url, token: setup.producerToken, connections, perRequest, seconds: 3 };
  // Warm-up.
  await ask<LoadResult>(generator, order, 'events');
  const before = cpuMs(server.process);
  const { events, perSecond, p50Ms } = await ask<LoadResult>(generator, { ...order, seconds }, 'events');
  const cpuMicros = ((cpuMs(server.process) - before) * 1_000) / events;
  await end(generator);
  return { perSecond, cpuMicros, p50Ms };
}

/** Counts the stored events of the next seconds, from the first one on, or until all are stored. */
async function measureKafka(server: Server, events: number): Promise<Measured> {
  const look = async () => {
    const [row] = await sql<{ n: number }>(setup.databaseUrl, 'select count(*)::int as n from notification_log');
    return { events: row?.n ?? 0, at: performance.now(), cpu: cpuMs(server.process) };
  };
  const lookAgain = async () => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    return look();
  };
  let first = await look();
  for (const deadline = performance.now() + 60_000; first.events === 0;) {
    if (performance.now() > deadline) throw new Error('no event was consumed within a minute');
    first = await lookAgain();
  }
  let last = first;
  while (last.events < events && last.at - first.at < seconds * 1_000) last = await lookAgain();
  const stored = last.events - first.events;
  return { perSecond: (stored * 1_000) / (last.at - first.at), cpuMicros: ((last.cpu - first.cpu) * 1_000) / stored };
}

async function measure(one: Case, { start }: (typeof SERVERS)['http'][number]): Promise<Measured> {
  await emptyTables();
  const topic = `bench-${randomUUID()}`;
  if (one.transport === 'kafka') await fillTopic(kafka, topic, Number(values.events));
  const env = { ...setup.env, KAFKA_BROKERS: broker?.brokers ?? '', PUBSUB_TOPIC: topic, KAFKA_GROUP_ID: topic };
  const server = await start(one.transport === 'kafka' ? env : setup.env);
  const measured = await (one.transport === 'kafka'
    ? measureKafka(server, Number(values.events))
    : measureHttp(server, one));
  await end(server.process, 'SIGKILL');
  return measured;
}

const line = (cells: string[]): string => {
  const [name = '', ...rest] = cells;
  return `${name.padEnd(34)}${rest.map((cell) => cell.padStart(13)).join('')}\n`;
};
process.stdout.write(line(['', 'textbook/s', 'service/s', 'ratio', 'CPU ratio', 'p50', 'p50', 'goal']));
for (const one of cases) {
  const found = SERVERS[one.transport].map((server) => ({ server, measured: [] as Measured[] }));
  for (let round = 0; round < rounds; round += 1) {
    for (const { server, measured } of found) measured.push(await measure(one, server));
  }
  const [base, ours] = found.map(({ measured }) => ({
    perSecond: median(measured.map(({ perSecond }) => perSecond)),
    cpuMicros: median(measured.map(({ cpuMicros }) => cpuMicros)),
    p50Ms: median(measured.map(({ p50Ms }) => p50Ms ?? Number.NaN)),
  })) as [Required<Measured>, Required<Measured>];
  const ratio = ours.perSecond / base.perSecond;
  const milliseconds = (ms: number): string => (Number.isNaN(ms) ? '' : `${ms.toFixed(1)} ms`);
  process.stdout.write(
    line([
      one.name,
      base.perSecond.toFixed(0),
      ours.perSecond.toFixed(0),
      `${ratio.toFixed(1)}x`,
      `${(base.cpuMicros / ours.cpuMicros).toFixed(1)}x`,
      milliseconds(base.p50Ms),
      milliseconds(ours.p50Ms),
      one.goal === undefined ? '' : `>= ${one.goal} ${ratio >= one.goal ? 'met' : 'missed'}`,
    ]),
  );
}
process.stdout.write(
  `medians of ${rounds} rounds of ${seconds} s, ${pinned ? 'server on core 0, load on core 1' : 'not pinned'}\n`,
);

await broker?.stop();
await setup.close();
await postgres.stop();
process.exit(0);
