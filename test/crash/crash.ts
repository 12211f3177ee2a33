import { parseArgs } from 'node:util';

import { type ChildService, startChild } from '../support/child.ts';
import { eventually } from '../support/eventually.ts';
import { startLeanSmtp } from '../support/lean-smtp.ts';
import { loadEvent, postUntilAccepted, setUpLoad, tally } from '../support/load.ts';
import { providePostgres } from '../services/postgres.ts';

// npm run test:crash -- --events 10000 --kills 50 --seed 1
//
// Two processes accept and deliver events while they are killed at random moments. In the end every event has one
// terminal record, and a mail was sent twice only when a process died while sending it. The lease is the default: others take
// over the rows of a dead process because its heartbeats stop.

const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '10000' },
    kills: { type: 'string', default: '50' },
    seed: { type: 'string', default: String(Date.now() % 100_000) },
  },
});
const events = Number(values.events);
const kills = Number(values.kills);
const random = mulberry32(Number(values.seed));

const postgres = await providePostgres();
const relay = await startLeanSmtp();
const setup = await setUpLoad(postgres.url);
const env = {
  ...setup.env,
  SMTP_PROVIDER_SECRET: `smtp://127.0.0.1:${relay.port}?from=load@vas.example`,
};
const startedAt = performance.now();
const children: (ChildService | undefined)[] = [await startChild(env), await startChild(env)];
const alive = (): ChildService[] => children.filter((child) => child !== undefined);

let accepted = 0;
/** The producer waits when this number is reached, so that the next kill finds a process with open deliveries. */
let acceptedUpTo = 0;
let killsWithOpen = 0;
const BATCH = 20;
/** Number of events that the producer may send after a kill is due, before it waits for the kill. */
const HEADWAY = 100;
const produce = async (): Promise<void> => {
  for (let from = 0; from < events; from += BATCH) {
    await eventually(() => accepted < acceptedUpTo, 'the next kill', 600_000);
    const batch = Array.from({ length: Math.min(BATCH, events - from) }, (_none, index) =>
      loadEvent((from + index) % 4 === 3 ? 'in_app' : 'email', from + index),
    );
    await postUntilAccepted(alive, setup.producerToken, batch);
    accepted += batch.length;
  }
};

/** Kills processes at random points of the sequence of events, so that deliveries are in flight at each kill. */
const killAtRandom = async (): Promise<void> => {
  const moments = Array.from({ length: kills }, () => Math.floor(random() * events * 0.98)).toSorted((a, b) => a - b);
  for (const moment of moments) {
    acceptedUpTo = moment + HEADWAY;
    await eventually(() => accepted >= moment, `${moment} events`, 600_000);
    await new Promise((resolve) => setTimeout(resolve, random() * 50));
    const victim = random() < 0.5 ? 0 : 1;
    const child = children[victim];
    if ((await tally(setup.databaseUrl)).open > 0) killsWithOpen += 1;
    children[victim] = undefined;
    await child?.kill('SIGKILL');
    children[victim] = await startChild(env);
  }
  acceptedUpTo = Number.POSITIVE_INFINITY;
};

await Promise.all([produce(), killAtRandom()]);
const acceptedAfter = performance.now() - startedAt;
const state = await eventually(
  async () => {
    const now = await tally(setup.databaseUrl);
    return now.open === 0 && now;
  },
  'the end of every event',
  120_000,
).catch(() => tally(setup.databaseUrl));
const seconds = (performance.now() - startedAt) / 1_000;
for (const child of alive()) await child.kill('SIGTERM');

const mails = events - Math.floor(events / 4);
const duplicates = [...relay.received.values()].reduce((sum, times) => sum + times - 1, 0);
const begun = relay.interrupted() + duplicates;
const checks: [string, boolean][] = [
  [`${events} events have ${state.rows} records`, state.rows === events],
  [
    `${state.sent} of them were sent, ${state.inDoubt} ended as delivery_unknown, and ${state.open} are open`,
    state.sent + state.inDoubt === events && state.open === 0,
  ],
  [`${mails} mails have ${relay.received.size} Message-IDs`, relay.received.size === mails],
  [
    `${duplicates} mails arrived again, each with its own Message-ID, and none more than twice`,
    [...relay.received.values()].every((times) => times <= 2),
  ],
  [
    `${state.unknownAttempts} attempts are unknown; the relay had begun to take ${begun} mails that were not recorded`,
    duplicates <= state.unknownAttempts && state.unknownAttempts <= 2 * begun,
  ],
  [`${state.inboxRows} inbox rows for ${events - mails} notifications`, state.inboxRows === events - mails],
];
process.stdout.write(
  [
    '',
    `Killed ${kills} times (seed ${values.seed}), ${killsWithOpen} times with deliveries open; all accepted after ${(acceptedAfter / 1_000).toFixed(1)} s, all ended after ${seconds.toFixed(1)} s`,
    ...checks.map(([text, isTrue]) => `${isTrue ? 'ok  ' : 'FAIL'} ${text}`),
    '',
  ].join('\n'),
);
await setup.close();
await relay.close();
await postgres.stop();
process.exit(checks.every(([, isTrue]) => isTrue) ? 0 : 1);

/** A small random number generator. The same seed gives the same sequence. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
