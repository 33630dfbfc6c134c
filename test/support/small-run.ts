/** A run config that needs no model: one module, 512 adapter elements unless told otherwise. */
import { Learning, parseRunConfig, type RunConfig } from '../../proto/run-config.ts';
import { TrainerSettings } from '../../settings/trainer-settings.ts';

/**
 * @param learning keys of the learning section that differ from their defaults
 * @param width of the module: the adapter has 8 · width elements
 */
export const smallRunConfig = (learning: object = {}, width = 64): RunConfig =>
  parseRunConfig(
    JSON.stringify({
      seed: 1,
      learning: { decayRounds: 0, ...Learning.parse(learning) },
      data: { shards: 4 },
      adapter: {
        baseModel: '',
        rank: 4,
        alpha: 4,
        useRslora: false,
        targetModules: ['m'],
        rankPattern: {},
        alphaPattern: {},
        fanInFanOut: false,
        train: 'both',
        modules: [{ name: 'm', rank: 4, fanIn: width, fanOut: width, scale: 1 }],
      },
      baseModelSha256: '0'.repeat(64),
    }),
    'smallRunConfig',
  );

/** Trainer settings for tests: a free port, no evaluation, checkpoints at the end only. */
export const smallSettings = (settings: Partial<TrainerSettings> = {}): TrainerSettings =>
  TrainerSettings.parse({ listen: '127.0.0.1:0', evaluateEvery: 0, checkpointEvery: 0, ...settings });
