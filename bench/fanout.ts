import { parseArgs } from 'node:util';

import { IDLE_GOAL_KB } from './fanout/contestant.ts';
import { contestants } from './fanout/contestants.ts';
import { measure, type Measured, type Plan, type Rate } from './fanout/measure.ts';
import { pinned } from './fanout/processes.ts';
import { medians, type Row, table } from './fanout/table.ts';

// npm run bench:fanout -- --subscribers 1000 --rounds 3 --only textbook,raw

const { values } = parseArgs({
  options: {
    subscribers: { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '3' },
    events: { type: 'string', default: '100' },
    burst: { type: 'string', default: '200' },
    idle: { type: 'string', default: '2000' },
    only: { type: 'string' },
  },
});
const plan: Plan = {
  subscribers: Number(values.subscribers),
  events: Number(values.events),
  burst: Number(values.burst),
  idle: Number(values.idle),
};
const rounds = Number(values.rounds);
const only = values.only?.split(',');
const chosen = contestants.filter(({ name }) => !only || only.includes(name));

const found = new Map<string, Measured[]>(chosen.map(({ name }) => [name, []]));
for (let round = 1; round <= rounds; round += 1) {
  for (const contestant of chosen) {
    const measured = await measure(contestant, plan);
    found.get(contestant.name)?.push(measured);
    const rate = ({ perSecond, cpuMicros }: Rate): string => `${perSecond.toFixed(0)}/s ${cpuMicros.toFixed(2)} µs`;
    process.stdout.write(
      `round ${round} ${contestant.name.padEnd(10)} one at a time ${rate(measured.single)}, ` +
        `burst ${rate(measured.burst)}, idle ${measured.idleKb.toFixed(1)} KB\n`,
    );
  }
}

const rows: Row[] = chosen.map(({ name, goals }) => ({ name, goals, measured: medians(found.get(name) ?? []) }));
process.stdout.write(
  `\n${table(rows, IDLE_GOAL_KB)}\n${plan.subscribers} subscribers, ${plan.events} events one at a time, bursts of ` +
    `${plan.burst}, medians of ${rounds} rounds, ${pinned ? 'server on core 0, load on core 1' : 'not pinned'}\n`,
);
process.exit(0);
