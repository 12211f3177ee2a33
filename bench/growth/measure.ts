import { median } from '../fanout/table.ts';

/** Runs once and returns the duration of each operation in it, in milliseconds. */
export type Step = () => Promise<Record<string, number>>;

/** Returns a step of one operation. */
export const timed =
  (name: string, work: () => Promise<unknown>): Step =>
  async () => {
    const startedAt = performance.now();
    await work();
    return { [name]: performance.now() - startedAt };
  };

/** A name of an operation with its durations by database, in milliseconds. */
export type Durations = Map<string, number[][]>;

export interface Plan {
  rounds: number;
  /** Number of repetitions in each round. */
  repetitions: number;
  /** Number of runs before the first round. */
  warmUps: number;
}

/**
 * Runs the same steps on each database. The databases take turns in every step, so that a busy machine affects all of them.
 *
 * @param steps the steps by database, in the same order.
 */
export async function measure(steps: Step[][], { rounds, repetitions, warmUps }: Plan): Promise<Durations> {
  const durations: Durations = new Map();
  for (let round = 0; round < rounds; round += 1) {
    for (const index of (steps[0] ?? []).keys()) {
      for (const [database, own] of steps.entries()) {
        const step = own[index] as Step;
        // Other databases have replaced a part of the caches since the last round.
        for (let run = 0; run < (round === 0 ? warmUps : 1); run += 1) await step();
        for (let run = 0; run < repetitions; run += 1) {
          for (const [name, ms] of Object.entries(await step())) {
            const found = durations.get(name) ?? steps.map(() => []);
            found[database]?.push(ms);
            durations.set(name, found);
          }
        }
      }
    }
  }
  return durations;
}

/** Maximum ratio of the duration at the largest size to that at the smallest. */
export const GOAL = 1.5;

const format = (ms: number): string => (ms < 100 ? ms.toFixed(1) : ms.toFixed(0));

/** Returns a table of medians in milliseconds, with the ratio of the last column to the first. */
export function table(
  title: string,
  columns: string[],
  durations: Durations,
  operations = [...durations.keys()],
): string {
  const rows = operations.map((name) => {
    const medians = (durations.get(name) ?? []).map(median);
    const ratio = (medians.at(-1) ?? Number.NaN) / (medians[0] ?? Number.NaN);
    return [name, ...medians.map(format), ratio.toFixed(2), ratio <= GOAL ? 'met' : 'missed'];
  });
  const line = ([name = '', ...cells]: string[]): string =>
    `${name.padEnd(44)}${cells.map((cell) => cell.padStart(12)).join('')}\n`;
  return [[title, ...columns, 'ratio', `<= ${GOAL}`], ...rows].map(line).join('');
}
