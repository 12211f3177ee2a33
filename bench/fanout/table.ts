import type { Goals } from './contestant.ts';
import type { Measured, Rate } from './measure.ts';

export const median = (values: number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
};

/** Returns the median of each number over all rounds. */
export function medians(rounds: Measured[]): Measured {
  const rate = (of: 'single' | 'burst'): Rate => ({
    perSecond: median(rounds.map((round) => round[of].perSecond)),
    cpuMicros: median(rounds.map((round) => round[of].cpuMicros)),
    generator: median(rounds.map((round) => round[of].generator)),
  });
  return {
    single: rate('single'),
    burst: rate('burst'),
    idleKb: median(rounds.map((round) => round.idleKb)),
    idleLiveKb: median(rounds.map((round) => round.idleLiveKb)),
  };
}

export interface Row {
  name: string;
  goals: Goals | undefined;
  measured: Measured;
}

const HEAD = ['delivered/s', 'ratio', 'CPU µs each', 'ratio', 'generator', 'goal'];
const WIDTHS = [13, 9, 13, 9, 11, 14];

const line = (name: string, cells: string[]): string =>
  `${name.padEnd(18)}${cells.map((cell, index) => cell.padStart(WIDTHS[index] ?? 10)).join('')}`;

const verdict = (goal: number | undefined, met: (goal: number) => boolean, sign: string): string =>
  goal === undefined ? '' : `${sign} ${goal} ${met(goal) ? 'met' : 'missed'}`;

function rateTable(title: string, of: 'single' | 'burst', rows: Row[]): string[] {
  const base = rows[0]?.measured[of];
  return [
    line(title, HEAD),
    ...rows.map(({ name, goals, measured }) => {
      const rate = measured[of];
      const speed = rate.perSecond / (base?.perSecond ?? Number.NaN);
      return line(name, [
        rate.perSecond.toFixed(0),
        `${speed.toFixed(1)}x`,
        rate.cpuMicros.toFixed(2),
        `${((base?.cpuMicros ?? Number.NaN) / rate.cpuMicros).toFixed(1)}x`,
        `${(rate.generator * 100).toFixed(0)} %`,
        verdict(goals?.[of], (goal) => speed >= goal, '>='),
      ]);
    }),
  ];
}

/** Prints all results, their ratios to the first row, and the goals for deliveries per second. */
export function table(rows: Row[], idleGoalKb: number): string {
  return [
    ...rateTable('one at a time', 'single', rows),
    '',
    ...rateTable('burst', 'burst', rows),
    '',
    line('idle connection', ['KB resident', '', 'KB alive', '', '', 'goal']),
    ...rows.map(({ name, goals, measured: { idleKb, idleLiveKb } }) =>
      line(name, [
        idleKb.toFixed(1),
        '',
        idleLiveKb.toFixed(1),
        '',
        '',
        goals ? verdict(idleGoalKb, (goal) => idleKb <= goal, '<=') : '',
      ]),
    ),
    '',
  ].join('\n');
}
