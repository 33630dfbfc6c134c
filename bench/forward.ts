/** `onebyte bench forward`: what perturbed adapters cost beside the same graph without any, and how fast each estimator measures. */
import { availableParallelism } from 'node:os';
import { type AdapterLayout, adapterLayout } from '../kernels/adapter-layout.ts';
import { initialAdapter } from '../kernels/initial-adapter.ts';
import { roundKey, seedKey } from '../kernels/random-keys.ts';
import { referenceBackend } from '../kernels/reference.ts';
import { type BaseModel, openBaseModel } from '../model/base-model.ts';
import { createForward, type Forward, type ForwardOptions } from '../model/runtime/forward.ts';
import { type OperatorCount, profilePass } from '../model/runtime/profile.ts';
import type { Provider } from '../model/runtime/provider.ts';
import { noDirection } from '../model/runtime/signed-feeds.ts';
import { completionRow, type TokenRow } from '../model/token-row.ts';
import { Learning } from '../proto/run-config.ts';
import { movesOf, stepLength } from '../worker/estimators/perturbed-losses.ts';
import { signedDirections } from '../worker/estimators/signed-directions.ts';
import { benchDirections, type DirectionsRow } from './directions.ts';
import { describeMachine, type Machine } from './machine.ts';
import { median } from './statistics.ts';

export interface ForwardBenchOptions
  extends Partial<Pick<ForwardOptions, 'provider' | 'threads' | 'quantize' | 'precision'>> {
  /** A Hugging Face directory. */
  readonly model: string;
  /** G, even. Default 32. */
  readonly adapters?: number;
  /** Rows of a minibatch: of the first of them passes are made, with each the estimators are measured. Default 4. */
  readonly rows?: readonly number[];
  /** K of the estimators' contributions. Default 16. */
  readonly directions?: number;
  /** Runs of each side, alternating; the fastest counts. Default 5. */
  readonly runs?: number;
  /** Whether a pass is profiled, for which the model is loaded three times more. Default true. */
  readonly profile?: boolean;
}

export interface ForwardRow {
  /** `adapters`: G perturbed adapters over the minibatch. `none`: the same graph over as many tokens. */
  readonly what: 'adapters' | 'none';
  /** Tokens through the trunk: G · rows · tokens. */
  readonly tokens: number;
  /** What the fastest run reached. */
  readonly tokensPerSecond: number;
  readonly medianTokensPerSecond: number;
}

export interface ForwardBench {
  readonly rows: readonly ForwardRow[];
  /** The estimators on the same minibatch; empty with quantized weights, which `forward` does not take. */
  readonly directions: readonly DirectionsRow[];
  /** Nodes of a pass (losses, slopes, gradients) that did not run on the provider; absent where none was profiled. */
  readonly offProvider?: readonly OperatorCount[];
  /** Tokens per second with adapters over those without. */
  readonly ratio: number;
  /** The peak of this process after the first runs with G = 16, MiB; its buffer of perturbed adapters included. */
  readonly peakRssMiB: number;
  /** Bytes of all weights that the model reads, in float32, MiB. */
  readonly weightsMiB: number;
  readonly settings: Readonly<Record<string, number | string>>;
  readonly machine: Machine;
}

/** G at which memory is measured: K = 8, two-sided. */
const MEMORY_ADAPTERS = 16;
/** Of the adapter on every linear layer. */
const RANK = 8;
/** Tokens of a row that pass the trunk, and how many tokens are predicted at its end. */
const TOKENS = 64;
const COMPLETION = 4;

export async function benchForward(options: ForwardBenchOptions): Promise<ForwardBench> {
  const { adapters = 32, rows: sizes = [4], directions = 16, runs = 5, profile = true } = options;
  const rows = sizes[0]!;
  const { threads = availableParallelism(), quantize = 'none', precision } = options;
  const machine = describeMachine();
  const model = openBaseModel(options.model);
  const modules = model.linearModules.map(({ name, fanIn, fanOut }) => ({ name, fanIn, fanOut, rank: RANK, scale: 2 }));
  const layout = adapterLayout(modules);
  const minibatch = rowsOf(model, rows);
  const adapted = await createForward(
    model,
    { layout },
    { provider: options.provider ?? 'cpu', threads, quantize, precision },
  );
  const { provider } = adapted.chosen;
  await (await perturbed(adapted, layout, MEMORY_ADAPTERS))(minibatch);
  const peakRssMiB = Math.round(process.resourceUsage().maxRSS / 1024);

  const plain = await createForward(model, undefined, { provider, threads, quantize, precision });
  const perturbedLosses = await perturbed(adapted, layout, adapters);
  const many = rowsOf(model, adapters * rows);
  const seconds = { adapters: [] as number[], none: [] as number[] };
  for (let run = 0; run < runs; run++) {
    seconds.adapters.push(await secondsOf(() => perturbedLosses(minibatch)));
    seconds.none.push(await secondsOf(() => plain.losses(many, 1)));
  }
  await adapted.close();
  await plain.close();
  const settings = { provider, threads, quantize, precision };
  const minibatches = sizes.map((rows) => rowsOf(model, rows));
  const estimators =
    quantize === 'none' ? await benchDirections(model, layout, minibatches, directions, runs, settings) : [];
  const count = adapters * rows * TOKENS;
  const measured = (['adapters', 'none'] as const).map((what) => rowOf(what, count, seconds[what]));
  return {
    rows: measured,
    directions: estimators,
    ...(profile && { offProvider: await offProvider(model, layout, minibatch, settings) }),
    ratio: measured[0]!.tokensPerSecond / measured[1]!.tokensPerSecond,
    peakRssMiB,
    weightsMiB: Math.round(weightElements(model) / 2 ** 18),
    settings: {
      ...{ model: options.model, adapters, rank: RANK, rows, tokens: TOKENS, completion: COMPLETION, directions, runs },
      ...settings,
      precision: adapted.chosen.precision,
    },
    machine,
  };
}

/** Nodes off the provider in a pass of losses, and in one of slopes and one of gradients where the weights allow them. */
async function offProvider(
  model: BaseModel,
  layout: AdapterLayout,
  rows: readonly TokenRow[],
  options: ForwardOptions & { readonly provider: Provider },
): Promise<readonly OperatorCount[]> {
  const theta = initialAdapter(1, layout.modules);
  const { off } = await profilePass(options.provider, async (profileDirectory) => {
    const losses = await createForward(model, { layout }, { ...options, profileDirectory });
    await losses.losses(rows, 1, theta);
    await losses.close();
    if (options.quantize !== 'none') return;
    const slopes = await createForward(model, { layout }, { ...options, profileDirectory, tangents: 'float32' });
    await slopes.slopes(rows, theta, slopes.signed ? noDirection(layout) : theta);
    await slopes.close();
    const gradients = await createForward(model, { layout }, { ...options, profileDirectory, gradients: true });
    await gradients.gradient(rows, theta);
    await gradients.close();
  });
  return off;
}

/** Token ids without meaning: time does not depend on them. */
function rowsOf(model: BaseModel, rows: number): TokenRow[] {
  return Array.from({ length: rows }, (_, row) => {
    // One more than pass the trunk: the last is only predicted.
    const ids = Array.from({ length: TOKENS + 1 }, (_, i) => (97 * i + 31 * row + 5) % model.vocabularySize);
    return completionRow(ids, TOKENS + 1 - COMPLETION);
  });
}

/** Losses under two-sided perturbations of a run's first adapter, which are made beforehand as a worker makes them. */
async function perturbed(
  forward: Forward,
  layout: AdapterLayout,
  adapters: number,
): Promise<(rows: readonly TokenRow[]) => Promise<unknown>> {
  const theta = initialAdapter(1, layout.modules);
  const context = { learning: Learning.parse({}), layout, backend: referenceBackend };
  const part = { roundKey: roundKey(seedKey(1), 0, 0), firstDirection: 0, directions: adapters / 2 };
  if (forward.signed) {
    const z = await signedDirections(context, part);
    const moves = movesOf(context, part.directions, 'both');
    return (rows) => forward.lossesAround(rows, theta, z, moves);
  }
  const scratch = new Float32Array(adapters * layout.elements);
  const step = Math.fround(stepLength(context));
  const { directionStripes: stripes } = context.learning;
  await referenceBackend.perturb({ ...part, layout, theta, step, stripes, sides: 'both' }, scratch);
  return (rows) => forward.losses(rows, adapters, scratch);
}

async function secondsOf(pass: () => Promise<unknown>) {
  const begin = performance.now();
  await pass();
  return (performance.now() - begin) / 1000;
}

function rowOf(what: ForwardRow['what'], tokens: number, seconds: readonly number[]): ForwardRow {
  return {
    what,
    tokens,
    tokensPerSecond: tokens / Math.min(...seconds),
    medianTokensPerSecond: tokens / median(seconds),
  };
}

/** A tied table counts once. */
function weightElements(model: BaseModel): number {
  const tensors = new Set(model.weights.values());
  return [...tensors].reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
}
