/** `onebyte bench liars`: what workers that lie do to a run, with and without winsorising. In one process, real model and kernels. */
import seedrandom from 'seedrandom';
import type { Dataset } from '../data/dataset.ts';
import { absorb } from '../kernels/learning-rule.ts';
import { applyRecord } from '../kernels/replica.ts';
import type { RecordEntry } from '../proto/record.ts';
import { measureContribution } from '../worker/estimators/contribution.ts';
import { Lab, nextRecord } from './lab.ts';

/** flip: the sign of what it measured; random: any byte that is a number; saturate: ±448. */
export type Lie = 'flip' | 'random' | 'saturate';

export interface LiarsBenchOptions {
  /** Directory of the example: model/, train.jsonl, dev.jsonl. */
  readonly example: string;
  /** Default 50: 4,000 directions. */
  readonly rounds?: number;
  readonly seed?: number;
  readonly onRow?: (row: LiarsRow) => void;
}

export interface LiarsRow {
  readonly lie: Lie | 'none';
  /** Workers of ten that lie, as a percentage. */
  readonly liars: number;
  readonly winsorised: boolean;
  /** On the dev split at the end. */
  readonly accuracy: number | undefined;
  readonly loss: number;
  /** Bytes cut to the limit, as a part of the liars' and of the others'. */
  readonly clippedOfLiars: number;
  readonly clippedOfHonest: number;
}

const WORKERS = 10;
/** Of liars beside 0. */
const PERCENTAGES = [20, 10, 30];
/** K. */
const DIRECTIONS = 8;
/** The default and one that never cuts. */
const CLIP = { on: 4, off: 2 ** 30 };

/** Every kind and share of liars, each with and without winsorising. */
export async function benchLiars(
  options: LiarsBenchOptions,
): Promise<{ rows: LiarsRow[]; rounds: number; seed: number }> {
  const { example, rounds = 50, seed = 1, onRow } = options;
  const lab = await Lab.open(example);
  const dev = await lab.read('dev.jsonl');
  const lies = PERCENTAGES.flatMap((liars) => (['flip', 'random', 'saturate'] as const).map((lie) => ({ lie, liars })));
  const rows: LiarsRow[] = [];
  try {
    for (const { lie, liars } of [{ lie: 'none' as const, liars: 0 }, ...lies])
      for (const winsorised of [true, false]) {
        const row = await run(lab, dev, rounds, seed, { lie, liars, winsorised });
        rows.push(row);
        onRow?.(row);
      }
  } finally {
    await lab.close();
  }
  return { rows, rounds, seed };
}

async function run(
  lab: Lab,
  dev: Dataset,
  rounds: number,
  seed: number,
  trial: Pick<LiarsRow, 'lie' | 'liars' | 'winsorised'>,
): Promise<LiarsRow> {
  const learning = { directions: DIRECTIONS, clip: trial.winsorised ? CLIP.on : CLIP.off };
  const { rule, workers, evaluate, ...start } = await lab.begin({ seed, workers: WORKERS, learning });
  const random = seedrandom(`${seed}/liars`);
  const liars = Math.round((trial.liars / 100) * WORKERS);
  const clipped = { liars: 0, honest: 0 };
  let { replica } = start;
  for (let round = 0; round < rounds; round++) {
    const entries: RecordEntry[] = [];
    for (const { context, rows } of workers) {
      const { worker } = context;
      const isLiar = worker < liars;
      const measured =
        isLiar && trial.lie !== 'flip'
          ? Buffer.alloc(DIRECTIONS)
          : (await measureContribution(context, replica, 0, rows(round))).gradientBytes;
      const gradientBytes = isLiar ? measured.map((byte) => lied(trial.lie, byte, random)) : measured;
      entries.push({ staleness: 0, worker, firstDirection: 0, gradientBytes: Buffer.from(gradientBytes) });
    }
    const record = nextRecord(replica, entries);
    for (const [worker, bytes] of absorb(replica.normaliser, rule, record).update?.clipped ?? [])
      clipped[worker < liars ? 'liars' : 'honest'] += bytes;
    replica = await applyRecord(replica, rule, record, lab.backend);
  }
  const bytes = (workers: number): number => Math.max(1, workers * rounds * DIRECTIONS);
  return {
    ...trial,
    ...(await evaluate(replica.theta, dev)),
    clippedOfLiars: clipped.liars / bytes(liars),
    clippedOfHonest: clipped.honest / bytes(WORKERS - liars),
  };
}

function lied(lie: LiarsRow['lie'], byte: number, random: () => number): number {
  const sign = random() < 0.5 ? 0 : 0x80;
  if (lie === 'flip') return byte ^ 0x80;
  return lie === 'saturate' ? sign | 0x7e : sign | Math.floor(random() * 0x7f);
}
