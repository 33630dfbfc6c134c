/** Which provider `auto` stands for: the one that runs this model fastest here, by a short pass on each. */
import { Tensor } from 'onnxruntime-node';
import { adapterLayout } from '../../kernels/adapter-layout.ts';
import { nvidiaGpus, nvidiaMemory } from '../../platform/nvidia.ts';
import { usageError } from '../../proto/operating-error.ts';
import { adaptableLinears } from '../architecture.ts';
import type { BaseModel } from '../base-model.ts';
import type { Precision } from '../graph/precision.ts';
import { adapterInput, trunkGraph } from '../graph/trunk.ts';
import type { TokenRow } from '../token-row.ts';
import { packRows } from './packing.ts';
import { gpuProviders, type Provider, requireProvider } from './provider.ts';
import { createSession, type SessionOptions } from './session.ts';

/** For the user: `cuda:1 (80 GiB) in bfloat16`. */
function named({ provider, precision, memory }: Omit<ChosenProvider, 'place' | 'reason'>, device = 0): string {
  const place = provider === 'cuda' ? `${provider}:${device}${memoryText(memory)}` : provider;
  return precision === 'float32' ? place : `${place} in ${precision}`;
}

const memoryText = (bytes: number | undefined): string =>
  bytes === undefined ? '' : ` (${Math.round(bytes / 2 ** 30)} GiB)`;

export interface ChosenProvider {
  readonly provider: Provider;
  readonly precision: Precision;
  /** Bytes of the device's memory, where its driver says so. */
  readonly memory?: number | undefined;
  /** With its device, the device's memory and the precision, for a table: `cuda:1 (80 GiB) in bfloat16`. */
  readonly place: string;
  /** One line for the user: what is taken, and the figures. */
  readonly reason: string;
}

/** How a provider is measured. @returns seconds of a pass @throws what keeps the provider from running it */
export type Measure = (provider: Provider) => Promise<number>;

/** Layers of the model in the pass that is measured: the first is special, what no adapter has changed yet is made once for all. */
const LAYERS = 2;
/** A minibatch as a worker has it: adapters, rows, tokens of a row. */
const [ADAPTERS, ROWS, TOKENS] = [8, 4, 64];
const RANK = 8;
/** The fastest of so many passes counts, after one in which a GPU compiles its kernels. */
const PASSES = 3;
/** A provider whose first pass takes longer is measured no further, seconds. */
const LONGEST = 5;

/**
 * The provider that `wanted` stands for.
 * @param shown providers of the GPUs that the system shows
 * @throws OperatingError (usage) that says what a provider needs where it was asked for and does not work
 */
export async function chooseProvider(
  wanted: Provider | 'auto',
  model: BaseModel,
  { threads, device, precisionOn, int8Tangents = false }: Machine,
  shown: readonly Provider[] = gpuProviders(),
): Promise<ChosenProvider> {
  const taken = (provider: Provider, reason: (place: string) => string): ChosenProvider => {
    const memory = provider === 'cuda' ? nvidiaMemory(device ?? 0) : undefined;
    const found = { provider, precision: precisionOn(provider), memory };
    const place = named(found, device);
    return { ...found, place, reason: reason(place) };
  };
  if (wanted !== 'auto') {
    checkPrecision(wanted, precisionOn(wanted));
    checkDevice(wanted, device);
    await requireProvider(wanted, device);
    return taken(wanted, (place) => `${place}, as asked`);
  }
  const gpus = shown.filter((provider) => !int8Tangents && PRECISIONS[provider].includes(precisionOn(provider)));
  if (gpus.includes('cuda')) checkDevice('cuda', device);
  if (gpus.length === 0) {
    const lacking = int8Tangents ? 'int8 tangents' : precisionOn('cpu');
    const why = shown.length === 0 ? 'the system shows no GPU' : `no ${lacking} on ${shown.join(' or ')}`;
    return taken('cpu', (place) => `${place}: ${why}`);
  }
  const { provider, reason } = await fastestOf([...gpus, 'cpu'], (provider) =>
    secondsOfPass(model, { provider, threads, device, rounding: roundingOf(model, precisionOn(provider)) }),
  );
  return taken(provider, (place) => `${place}, ${reason}`);
}

/** What a forward pass may use, whatever the provider. */
interface Machine extends Pick<SessionOptions, 'threads' | 'device'> {
  /** What linear layers multiply in, by provider. */
  readonly precisionOn: (provider: Provider) => Precision;
  /** Products of tangents are made in 8 bits, which the CPU alone does. */
  readonly int8Tangents?: boolean;
}

export const roundingOf = ({ weights, architecture }: BaseModel, precision: Precision) => ({
  precision,
  head: weights.get(architecture.head.name)!.name,
});

/** What each provider multiplies in. The CPU emulates: it rounds, and multiplies in float32. */
const PRECISIONS: Readonly<Record<Provider, readonly Precision[]>> = {
  cpu: ['float32', 'tf32', 'bfloat16', 'float16'],
  cuda: ['float32', 'tf32', 'bfloat16', 'float16'],
  webgpu: ['float32'],
};

function checkPrecision(provider: Provider, precision: Precision): void {
  if (!PRECISIONS[provider].includes(precision))
    throw usageError(
      `worker.precision ${precision}: provider ${provider} has ${PRECISIONS[provider].join(', ')}; set worker.precision: float32, or worker.provider: cuda`,
    );
}

function checkDevice(provider: Provider, device: number | undefined): void {
  if (device === undefined) return;
  if (provider !== 'cuda')
    throw usageError(
      `worker.device ${device}: the provider is ${provider}, expected cuda; leave worker.device out, or set worker.provider: cuda`,
    );
  const gpus = nvidiaGpus();
  if (device >= gpus)
    throw usageError(
      `worker.device ${device}: this machine has ${gpus} NVIDIA GPU${gpus === 1 ? '' : 's'} (counted from 0; CUDA_VISIBLE_DEVICES hides others)`,
    );
}

/** The fastest of `candidates`, where cuda comes before webgpu. The last one stands where all others fail; what it throws is thrown. */
export async function fastestOf(
  candidates: readonly Provider[],
  measure: Measure,
): Promise<Pick<ChosenProvider, 'provider' | 'reason'>> {
  const figures: string[] = [];
  let best: { provider: Provider; seconds: number } | undefined;
  for (const [i, provider] of candidates.entries()) {
    // On a card that CUDA runs on WebGPU takes hundreds of times as long (docs/gpu.md).
    if (provider === 'webgpu' && best?.provider === 'cuda') continue;
    try {
      const seconds = await measure(provider);
      figures.push(`${provider} ${Number((seconds * 1000).toPrecision(3))} ms`);
      if (best === undefined || seconds < best.seconds) best = { provider, seconds };
    } catch (error) {
      if (i === candidates.length - 1 && best === undefined) throw error;
      figures.push(`${provider} does not run here (${(error as Error).message})`);
    }
  }
  const { provider } = best!;
  const pass = `a pass of ${LAYERS} layers over ${ADAPTERS * ROWS * TOKENS} tokens`;
  return { provider, reason: `the fastest by ${pass}: ${figures.join(', ')}` };
}

/** Seconds of a pass of the first layers of the model: the fastest, of losses under perturbed adapters on every linear layer. */
export async function secondsOfPass(model: BaseModel, options: SessionOptions): Promise<number> {
  await requireProvider(options.provider, options.device);
  const architecture = { ...model.architecture, layers: model.architecture.layers.slice(0, LAYERS) };
  const layout = adapterLayout(adaptableLinears(architecture).map((linear) => ({ ...linear, rank: RANK, scale: 1 })));
  const graph = trunkGraph({ ...model, architecture }, layout, {});
  const session = await createSession(graph, options, { arena: true, shared: false });
  try {
    const feeds: Record<string, Tensor> = { ...packRows(rowsOf(model), architecture).feeds };
    for (const { matrix, module, shape, elements } of layout.tensors) {
      const values = new Float32Array(ADAPTERS * elements).fill(0.01);
      feeds[adapterInput(matrix, module)] = new Tensor('float32', values, [ADAPTERS, ...shape]);
    }
    const seconds: number[] = [];
    do {
      const begin = performance.now();
      await session.run(feeds);
      seconds.push((performance.now() - begin) / 1000);
    } while (seconds.length <= PASSES && seconds[0]! < LONGEST);
    return Math.min(...seconds);
  } finally {
    await session.release();
  }
}

/** Rows that share no token, or the pass would hold fewer. */
function rowsOf({ vocabularySize, maxPositions }: BaseModel): TokenRow[] {
  const length = Math.min(TOKENS + 1, maxPositions);
  return Array.from({ length: ROWS }, (_, row) => ({
    ids: Array.from({ length }, (_, i) => (i + row) % vocabularySize),
    labels: [length - 1],
  }));
}
