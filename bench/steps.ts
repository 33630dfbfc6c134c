/** `onebyte bench steps`: whole training steps on a model's own task, beside PyTorch's where it is installed, in turns. */
import { join } from 'node:path';
import { applyRecord } from '../kernels/replica.ts';
import { hasExactInt8 } from '../model/runtime/int8-support.ts';
import type { TokenRow } from '../model/token-row.ts';
import { usableCores } from '../platform/cores.ts';
import { usageError } from '../proto/operating-error.ts';
import { measureContribution } from '../worker/estimators/contribution.ts';
import { Lab, nextRecord, type TrialSettings } from './lab.ts';
import { describeMachine, type Machine } from './machine.ts';
import { PEER_DTYPES, Peer, type PeerDtype } from './peers/peer.ts';

export interface StepsBenchOptions {
  /** Directory with model/ and train.jsonl. */
  readonly example: string;
  /** An interpreter with torch, transformers and peft; undefined: no PyTorch. */
  readonly python?: string;
  /** K. Default 16. */
  readonly directions?: number;
  /** Rows of our minibatch. Default 4. */
  readonly rows?: number;
}

export interface StepsRow {
  readonly what: string;
  /** Rows × directions a second, two-sided, update included: over all turns, and the slowest and fastest turn. */
  readonly rowDirectionsPerSecond: number;
  readonly slowest: number;
  readonly fastest: number;
  /** Rows of a minibatch; PyTorch's is its fastest. */
  readonly batch: number;
}

export interface StepsBench {
  readonly rows: readonly StepsRow[];
  /** Our rates over PyTorch's: `ours / PyTorch's` → ratio. */
  readonly ratios: { readonly [pair: string]: number };
  readonly settings: { readonly [name: string]: number | string };
  readonly versions: { readonly [library: string]: string };
  readonly machine: Machine;
}

/** Rows that all sides work on, a multiple of every minibatch, and PyTorch's minibatches that are tried. */
const ROWS = 64;
const BATCHES = [1, 4, 16, 64];
/** Of each side. */
const TURNS = 4;

interface Side {
  readonly what: string;
  readonly batch: number;
  readonly turn: (turn: number) => Promise<Turn>;
}

interface Turn {
  readonly seconds: number;
  readonly rowDirections: number;
}

export async function benchSteps(options: StepsBenchOptions): Promise<StepsBench> {
  const { example, python, directions = 16, rows: batch = 4 } = options;
  if (batch > ROWS) throw usageError(`--rows ${batch}: expected at most ${ROWS}, which are all that a turn measures`);
  const machine = describeMachine();
  const threads = usableCores();
  const lab = await Lab.open(example);
  const ours = [];
  const int8 = await hasExactInt8();
  for (const [what, how] of Object.entries(OURS))
    if (int8 || how.tangents !== 'int8') ours.push(await ourSide(lab, what, how, directions, batch));
  const rowsOfAll = ours[0]!.rows;
  const peer = python === undefined ? undefined : await Peer.start(python, join(example, 'model'), threads, rowsOfAll);
  const sides: Side[] = [...ours];
  try {
    if (peer) for (const dtype of PEER_DTYPES) sides.push(await fastestBatch(peer, dtype));
    for (const side of ours) await side.turn(0);
    const measured = sides.map((): Turn[] => []);
    for (let turn = 0; turn < TURNS; turn++)
      for (const [i, side] of sides.entries()) measured[i]!.push(await side.turn(turn));
    const rows = sides.map(({ what, batch: size }, i) => rowOf(what, size, measured[i]!));
    const [own, others] = [rows.slice(0, ours.length), rows.slice(ours.length)];
    return {
      rows,
      ratios: Object.fromEntries(
        own.flatMap(({ what, rowDirectionsPerSecond: rate }) =>
          others.map((other) => [`${what} / ${other.what}`, rate / other.rowDirectionsPerSecond]),
        ),
      ),
      settings: { directions, turns: TURNS, threads, rows: ROWS },
      versions: peer?.versions ?? {},
      machine,
    };
  } finally {
    peer?.close();
    await lab.close();
  }
}

/** PyTorch at the minibatch that is fastest for it. */
async function fastestBatch(peer: Peer, dtype: PeerDtype): Promise<Side> {
  await peer.pass(dtype, BATCHES[0]!);
  let best = { batch: 0, rate: 0 };
  for (const batch of BATCHES) {
    const { seconds, rowDirections } = await peer.pass(dtype, batch);
    if (rowDirections / seconds > best.rate) best = { batch, rate: rowDirections / seconds };
  }
  return { what: `PyTorch ${dtype}`, batch: best.batch, turn: () => peer.pass(dtype, best.batch) };
}

/** How we measure. */
const OURS: { readonly [what: string]: Partial<TrialSettings> } = {
  'spsa float32': {},
  'spsa int8 weights': { quantize: 'int8' },
  'forward float32': { learning: { estimator: 'forward' } },
  'forward int8': { learning: { estimator: 'forward' }, tangents: 'int8' },
};

/** A worker's step without the network: K projected gradients of a minibatch, then the record of their bytes. */
async function ourSide(lab: Lab, what: string, how: Partial<TrialSettings>, directions: number, batch: number) {
  const trial = await lab.begin({
    ...how,
    seed: 1,
    workers: 1,
    learning: { directions, rows: batch, ...how.learning },
  });
  const [{ context, rows: minibatchOf }] = trial.workers as [(typeof trial.workers)[0]];
  const rows = Array.from({ length: ROWS / batch }, (_, round) => minibatchOf(round)).flat();
  let { replica } = trial;
  const step = async (minibatch: readonly TokenRow[]): Promise<void> => {
    const { gradientBytes } = await measureContribution(context, replica, 0, minibatch);
    const record = nextRecord(replica, [{ worker: 0, staleness: 0, firstDirection: 0, gradientBytes }]);
    replica = await applyRecord(replica, trial.rule, record, lab.backend);
  };
  return {
    what,
    batch,
    rows,
    /** A part of the minibatches, so that all turns see all rows. */
    async turn(turn: number): Promise<Turn> {
      let rowDirections = 0;
      const start = performance.now();
      for (let at = turn * batch; at < ROWS; at += TURNS * batch) {
        const minibatch = rows.slice(at, at + batch);
        await step(minibatch);
        rowDirections += minibatch.length * directions;
      }
      return { seconds: (performance.now() - start) / 1000, rowDirections };
    },
  };
}

function rowOf(what: string, batch: number, turns: readonly Turn[]): StepsRow {
  const rates = turns.map(({ seconds, rowDirections }) => rowDirections / seconds);
  const sum = (of: (turn: Turn) => number): number => turns.reduce((total, turn) => total + of(turn), 0);
  return {
    what,
    rowDirectionsPerSecond: sum((t) => t.rowDirections) / sum((t) => t.seconds),
    slowest: Math.min(...rates),
    fastest: Math.max(...rates),
    batch,
  };
}
