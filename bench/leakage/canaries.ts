/**
 * Canaries: completions of random words, planted among the rows of one worker of a run. How far the final adapter prefers each to
 * all others that it might have been is its exposure (Carlini et al. 2019, "The Secret Sharer").
 */
import seedrandom from 'seedrandom';
import type { Forward } from '../../model/runtime/forward.ts';
import type { TokenRow } from '../../model/token-row.ts';
import { completionLoss } from '../../worker/objectives/completion-loss.ts';
import type { Lab } from '../lab.ts';
import { trainPrivately } from '../private-worker.ts';
import { mean } from '../statistics.ts';
import { differentRows, type LeakageRow, shuffled } from './seen.ts';
import { commonWords, TOKENS, WORDS, withUnknown } from './words.ts';

const EPSILONS = [0, 8, 4, 1];
/** So many canaries of each number of copies; what has none tells what the exposure is of words that nobody trained on. */
const COPIES = [0, 1, 4, 16];
const CANARIES = 4;
/** As in `bench privacy`. */
const RUN = { directions: 256, rows: 25, learningRate: 2e-3, decayRounds: 40, estimator: 'backward' } as const;
const WORKERS = 4;
const CLIP = 2;

interface Canary {
  readonly row: TokenRow;
  readonly copies: number;
}

export async function canaries(
  lab: Lab,
  trials: number,
  tell: (row: LeakageRow) => void,
  epsilons: readonly number[] = EPSILONS,
): Promise<void> {
  const words = await commonWords(lab);
  const texts = differentRows((await lab.read('dev.jsonl')).examples.map(completionLoss.trainingRow).map(withUnknown));
  for (const epsilon of epsilons) {
    const exposures = new Map(COPIES.map((copies) => [copies, [] as number[]]));
    for (let seed = 1; seed <= trials; seed++) {
      const planted = newCanaries(texts, words, seedrandom(`canaries ${seed}`));
      const trial = await lab.begin({ seed, workers: WORKERS, learning: RUN });
      const [worker, ...others] = trial.workers;
      const copies = planted.flatMap(({ row, copies }) => Array<TokenRow>(copies).fill(row));
      const shard = [...copies, ...worker!.shard.slice(copies.length)];
      const workers = [{ ...worker!, shard }, ...others];
      const { theta } = await trainPrivately(
        lab,
        { ...trial, workers },
        { epsilon, clip: CLIP, rounds: RUN.decayRounds },
      );
      for (const { row, copies } of planted)
        exposures.get(copies)!.push(exposure(await lossesOf(row, words, worker!.context.forward, theta)));
    }
    for (const [copies, bits] of exposures)
      tell({
        attack: 'canary',
        estimator: RUN.estimator,
        ...(epsilon > 0 && { epsilon }),
        rows: RUN.rows,
        found: mean(bits.map((each) => (each === Math.log2(WORDS ** TOKENS) ? 1 : 0))),
        chance: 1 / WORDS ** TOKENS,
        copies,
        exposure: mean(bits),
      });
  }
}

/** Other words at the end of public texts, each text once. */
function newCanaries(texts: readonly TokenRow[], words: readonly number[], random: () => number): Canary[] {
  const chosen = shuffled(texts, random);
  return COPIES.flatMap((copies) => Array<number>(CANARIES).fill(copies)).map((copies, i) => {
    const { ids, labels } = chosen[i]!;
    const secret = Array.from({ length: TOKENS }, () => words[Math.floor(random() * words.length)]!);
    return { row: { ids: [...ids.slice(0, -TOKENS), ...secret], labels }, copies };
  });
}

/** Of the row with its own completion, nats, and with each other one. */
async function lossesOf(
  row: TokenRow,
  words: readonly number[],
  forward: Forward,
  theta: Float32Array,
): Promise<number[]> {
  const own = row.ids.slice(-TOKENS);
  const all = words.flatMap((first) => words.map((second) => [first, second]));
  const candidates = [own, ...all.filter((other) => String(other) !== String(own))];
  const rows = candidates.map((completion) => ({ ...row, ids: [...row.ids.slice(0, -TOKENS), ...completion] }));
  const losses: number[] = [];
  for (let i = 0; i < rows.length; i += WORDS)
    losses.push(...(await forward.losses(rows.slice(i, i + WORDS), 1, theta)));
  return losses;
}

/** Bits: log2 of the number of completions less log2 of the rank of the first. @param losses of all, nats */
export function exposure([own, ...others]: readonly number[]): number {
  const rank = 1 + others.filter((loss) => loss <= own!).length;
  return Math.log2((others.length + 1) / rank);
}
