/** The run config of a benchmark: the defaults, all linear layers, for a model on this disk. */
import { describeAdapter } from '../proto/peft-describe.ts';
import { parseRunConfig, type RunConfig } from '../proto/run-config.ts';
import { type BaseModel, fingerprintBaseModel } from '../worker/model/base-model.ts';

const ADAPTER = {
  baseModel: '',
  rank: 8,
  alpha: 16,
  targets: 'all-linear',
  useRslora: false,
  train: 'both',
} as const;

/** @param learning differs from the defaults @param shards of the training rows */
export async function benchRunConfig(
  model: BaseModel,
  options: { seed: number; shards: number; learning: object },
): Promise<RunConfig> {
  const { seed, shards, learning } = options;
  const config = {
    seed,
    learning: { decayRounds: 0, ...learning },
    data: { maxLength: 128, shards },
    adapter: describeAdapter(ADAPTER, model.linearModules, model.fanInFanOut),
    baseModelSha256: await fingerprintBaseModel(model),
  };
  return parseRunConfig(JSON.stringify(config), 'the benchmark');
}
