/** `onebyte bench steps`: whole training steps on a model's own task, beside PyTorch's where it is installed, in turns. */
import { availableParallelism, cpus } from 'node:os';
import { exponentInForce } from '../kernels/learning-rule.ts';
import { applyRecord, initialReplica, type ReplicaState } from '../kernels/replica.ts';
import { initialMatrices, layoutOf, learningRuleOf, trainedPart } from '../kernels/run-replica.ts';
import { selectBackend } from '../kernels/select-backend.ts';
import { recordOf } from '../proto/record.ts';
import { usableCores } from '../worker/cores.ts';
import { readDataset } from '../worker/data/dataset.ts';
import { dataOrder } from '../worker/data/order.ts';
import type { TokenRow } from '../worker/data/token-row.ts';
import { openBaseModel } from '../worker/model/base-model.ts';
import { createForward } from '../worker/model/forward.ts';
import { loadTokenizer } from '../worker/model/tokenizer.ts';
import { measureContribution, Scratch } from '../worker/spsa-step.ts';
import { PEER_DTYPES, Peer, type PeerDtype } from './peers/peer.ts';
import { benchRunConfig } from './run-config.ts';

export interface StepsBenchOptions {
  /** A Hugging Face directory, and rows of its task. */
  readonly model: string;
  readonly data: string;
  /** An interpreter with torch, transformers and peft; undefined: no PyTorch. */
  readonly python?: string;
  /** K. Default 16. */
  readonly directions?: number;
  /** Rows of our minibatch. Default 4. */
  readonly rows?: number;
  /** Turns of each side. Default 4. */
  readonly turns?: number;
  readonly quantize?: 'none' | 'int8';
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
  /** Our rate over PyTorch's, by dtype. */
  readonly ratios: { readonly [dtype: string]: number };
  readonly settings: { readonly [name: string]: number | string };
  readonly versions: { readonly [library: string]: string };
  readonly machine: { readonly cpu: string; readonly cores: number; readonly node: string };
}

/** Rows that all sides work on, and PyTorch's minibatches that are tried. */
const ROWS = 64;
const BATCHES = [1, 4, 16, 64];

interface Turn {
  readonly seconds: number;
  readonly rowDirections: number;
}

export async function benchSteps(options: StepsBenchOptions): Promise<StepsBench> {
  const { model, data, python, directions = 16, rows: batch = 4, turns = 4, quantize = 'none' } = options;
  const threads = usableCores();
  const ours = await ourSteps({ model, data, directions, batch, quantize, threads });
  const sides = [{ what: `onebyte ${quantize === 'none' ? 'float32' : quantize}`, batch, turn: ours.turn }];
  const peer = python === undefined ? undefined : await Peer.start(python, model, threads, ours.rows);
  try {
    if (peer) for (const dtype of PEER_DTYPES) sides.push(await fastestBatch(peer, dtype));
    await ours.turn(0);
    const measured = sides.map((): Turn[] => []);
    for (let turn = 0; turn < turns; turn++)
      for (const [i, side] of sides.entries()) measured[i]!.push(await side.turn(turn));
    const rows = sides.map(({ what, batch: size }, i) => rowOf(what, size, measured[i]!));
    const [own, ...others] = rows;
    return {
      rows,
      ratios: Object.fromEntries(others.map((o) => [o.what, own!.rowDirectionsPerSecond / o.rowDirectionsPerSecond])),
      settings: { directions, turns, threads, rows: ROWS, quantize },
      versions: peer?.versions ?? {},
      machine: { cpu: cpus()[0]?.model ?? 'unknown', cores: availableParallelism(), node: process.version },
    };
  } finally {
    peer?.close();
    await ours.close();
  }
}

/** PyTorch at the minibatch that is fastest for it. */
async function fastestBatch(peer: Peer, dtype: PeerDtype) {
  await peer.pass(dtype, BATCHES[0]!);
  let best = { batch: 0, rate: 0 };
  for (const batch of BATCHES) {
    const { seconds, rowDirections } = await peer.pass(dtype, batch);
    if (rowDirections / seconds > best.rate) best = { batch, rate: rowDirections / seconds };
  }
  return { what: `PyTorch ${dtype}`, batch: best.batch, turn: () => peer.pass(dtype, best.batch) };
}

interface OurOptions {
  readonly model: string;
  readonly data: string;
  readonly directions: number;
  readonly batch: number;
  readonly quantize: 'none' | 'int8';
  readonly threads: number;
}

/** A worker's step without the network: K projected gradients of a minibatch, then the record of their bytes. */
async function ourSteps({ model: directory, data, directions, batch, quantize, threads }: OurOptions) {
  const model = openBaseModel(directory);
  const config = await benchRunConfig(model, { seed: 1, shards: 1, learning: { directions, rows: batch } });
  const [layout, rule] = [layoutOf(config), learningRuleOf(config)];
  const { backend } = await selectBackend('auto', threads);
  const forward = await createForward(model, { layout }, { provider: 'cpu', threads, quantize });
  const { examples } = readDataset(data, loadTokenizer(directory), config.data);
  const rows = dataOrder(
    1,
    0,
    examples.length,
  )(0, ROWS).map((i): TokenRow => {
    const { options, right } = examples[i]!;
    return options[right]!;
  });
  const theta = backend.allocate(layout.elements);
  theta.set(trainedPart(layout, initialMatrices(config, Buffer.alloc(0))));
  let replica: ReplicaState = initialReplica(rule, theta);
  const scratch = new Scratch(backend);
  const context = { learning: config.learning, rule, layout, backend, forward, scratch, worker: 0 };
  const step = async (minibatch: readonly TokenRow[]): Promise<void> => {
    const { round } = replica.normaliser;
    const gradientBytes = await measureContribution(context, replica, 0, minibatch);
    const entry = { worker: 0, staleness: 0, firstDirection: 0, gradientBytes };
    replica = await applyRecord(replica, rule, recordOf(round, exponentInForce(replica.normaliser), [entry]), backend);
  };
  return {
    rows,
    /** Every fourth minibatch, so that four turns see all rows. */
    async turn(turn: number): Promise<Turn> {
      let rowDirections = 0;
      const start = performance.now();
      for (let at = (turn % 4) * batch; at < ROWS; at += 4 * batch) {
        const minibatch = rows.slice(at, at + batch);
        await step(minibatch);
        rowDirections += minibatch.length * directions;
      }
      return { seconds: (performance.now() - start) / 1000, rowDirections };
    },
    async close(): Promise<void> {
      await forward.close();
      await backend.close();
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
