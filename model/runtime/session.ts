/** Hands a graph to ONNX Runtime. The only file that knows its options, but for provider.ts, which tries whether there is a provider. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { env, InferenceSession } from 'onnxruntime-node';
import type { GraphBuilder } from '../graph/builder.ts';
import { loweredForWebGpu } from '../graph/lowering.ts';
import { inPrecision, type PrecisionOptions } from '../graph/precision.ts';
import type { SerializedGraph } from '../graph/trunk.ts';
import { holdingModel } from './device-memory.ts';
import type { Provider } from './provider.ts';

// What is an error outside of a session, like a provider that does not load, is thrown too.
env.logLevel = 'fatal';

export interface SessionOptions {
  readonly provider: Provider;
  /** Threads of the CPU provider. */
  readonly threads: number;
  /** Which GPU provider cuda takes. Default: 0. */
  readonly device?: number | undefined;
  /** How products with base weights are rounded. Default: float32. */
  readonly rounding?: Omit<PrecisionOptions, 'emulated'> | undefined;
  /** Where a session leaves its profile when it is released; undefined: no profile. */
  readonly profileDirectory?: string | undefined;
}

/** The provider as ONNX Runtime takes it. A session opens its device, so even one that only tries the provider names it. */
export const onDevice = ({ provider, device = 0 }: Pick<SessionOptions, 'provider' | 'device'>) =>
  provider === 'cuda' ? { name: provider, deviceId: device } : provider;

/**
 * `arena`: whether freed memory is kept for the next run. Faster where a run makes many values (measured: 3 … 5 %), but the
 * peak of every run stays resident. `shared`: whether several products read the same weights, which then are held once and
 * rearranged in every run (measured: 4 % slower).
 */
export async function createSession(
  graph: SerializedGraph,
  options: SessionOptions,
  { arena, shared }: { readonly arena: boolean; readonly shared: boolean },
): Promise<InferenceSession> {
  const { provider, rounding } = options;
  const emulated = provider === 'cpu';
  const rounded =
    rounding === undefined ? graph.bytes : inPrecision(graph.bytes, graph.halfable, { ...rounding, emulated });
  const lowered = provider === 'webgpu' ? loweredForWebGpu(rounded) : rounded;
  const settings: InferenceSession.SessionOptions = {
    executionProviders: [onDevice(options)],
    ...(options.profileDirectory !== undefined && {
      enableProfiling: true,
      profileFilePrefix: join(options.profileDirectory, randomUUID()),
    }),
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
    enableCpuMemArena: arena,
    // Plans memory for the first shapes it sees and pays for every other.
    enableMemPattern: false,
    graphOptimizationLevel: 'all',
    // 3: errors only; what is an error is thrown too.
    logSeverityLevel: 3,
    extra: {
      session: {
        // The weights' locations are below this directory, never above it.
        model_external_initializers_file_folder_path: graph.weightsDirectory,
        // The two sessions of a forward pass take turns: a thread that spins after a run would hinder the other's.
        force_spinning_stop: '1',
        // A packed copy per product: too many where two products read the same weights.
        ...(shared && { disable_prepacking: '1' }),
      },
    },
  };
  return holdingModel(() => InferenceSession.create(lowered, settings));
}

/** What a graph without weights gives, run once. */
export async function runOnce(
  graph: GraphBuilder,
  options: SessionOptions,
  feeds: InferenceSession.FeedsType,
): Promise<InferenceSession.ReturnType> {
  const serialized = { bytes: graph.serialize(), weightsDirectory: graph.weightsDirectory, halfable: [] };
  const session = await createSession(serialized, options, { arena: false, shared: false });
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}
