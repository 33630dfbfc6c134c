/** Runs seeds of the simulation and says how to run a failing one again. */
import { simulate } from './simulate.ts';

/** Seeds that found a bug once: what they found stays fixed. */
export const KEPT_SEEDS: readonly number[] = [1, 16, 43, 69, 72, 464, 808, 828, 918, 1325, 1338, 1494, 1850, 1863];

/** Seeds of one `npm test`. */
export const SEEDS = 300;

/** The failures of the seeds `from`, `from + every`, … below `to`, each with the command that replays it. */
export function failuresOf(from: number, to: number, every: number): string[] {
  const failures: string[] = [];
  for (let seed = from; seed < to && failures.length < 3; seed += every) {
    const failure = simulate(seed);
    if (failure !== undefined) failures.push(`${failure}\n  replay: npx tsx scripts/simulate-seeds.ts ${seed}`);
  }
  return failures;
}
