/** PEFT's adapter_config.json: which of its fields are computed, which change nothing here, and all others refused by name. */
import { z } from 'zod';
import { readJsonFile } from '../platform/read-json-file.ts';
import { AdapterDescription, type LinearModule } from '../proto/adapter.ts';
import { OperatingError, usageError } from '../proto/operating-error.ts';
import { adapterModules, isAllLinear, pythonRegExp, type Targets, targetMatcher } from './peft-targets.ts';

const MAX_CONFIG_BYTES = 16 * 2 ** 20;
const names = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);
/** May be empty, which is none. */
const excluded = z.union([z.string(), z.array(z.string().min(1))]);
const rank = z.int().min(1);
/** Python takes None for false. */
const flag = z
  .boolean()
  .nullish()
  .transform((value) => value ?? false);

/** The fields that decide what the adapter computes; defaults are LoraConfig's. */
const LoraConfig = z.looseObject({
  peft_type: z.literal('LORA'),
  task_type: z.literal('CAUSAL_LM').nullish(),
  base_model_name_or_path: z.string().nullish(),
  r: rank.default(8),
  lora_alpha: z.number().default(8),
  use_rslora: flag,
  fan_in_fan_out: flag,
  target_modules: names,
  exclude_modules: excluded.nullish(),
  layers_to_transform: z.union([z.int(), z.array(z.int())]).nullish(),
  layers_pattern: z.union([z.string(), z.array(z.string())]).nullish(),
  rank_pattern: z.record(z.string(), rank).nullish(),
  alpha_pattern: z.record(z.string(), z.number()).nullish(),
  bias: z.literal('none').default('none'),
  /** Other values (pissa, olora, loftq, corda …) change the base weights. */
  init_lora_weights: z.union([z.boolean(), z.enum(['gaussian', 'orthogonal', 'eva'])]).nullish(),
});
type LoraConfig = z.infer<typeof LoraConfig>;

/**
 * Fields that say nothing about the forward pass of a trained adapter: how it began (a config of an init_lora_weights that
 * changes the base weights comes with that value, which is refused), how it was trained and saved.
 */
const WITHOUT_EFFECT = [
  'auto_mapping',
  'corda_config',
  'ensure_weight_tying',
  'eva_config',
  'inference_mode',
  'loftq_config',
  'lora_dropout',
  'lora_ga_config',
  'megatron_core',
  'peft_version',
  'qalora_group_size',
  'revision',
  'runtime_config',
];

/** Fields that PEFT gives a meaning to in the forward pass, and that are not computed here: refused unless they are not set. */
const REFUSED = [
  'alora_invocation_tokens',
  'layer_replication',
  'lora_bias',
  'megatron_config',
  'modules_to_save',
  'target_parameters',
  'trainable_token_indices',
  'use_dora',
  'use_qalora',
];
/** The same, where an empty object is a config of defaults: refused unless they are null. */
const REFUSED_CONFIGS = ['arrow_config', 'kasa_config', 'monteclora_config', 'use_bdlora', 'velora_config'];

/**
 * Reads `file` for a base model. Where layers_to_transform or exclude_modules choose, the description lists the modules whole.
 * `train` is "both": PEFT does not say.
 * @param linearModules the base model's, in θ's order
 * @param warn hears of a number in a field that no PEFT knows, which is passed over as PEFT does
 * @throws OperatingError (usage) that names the file and the field
 */
export function readPeftConfig(
  file: string,
  linearModules: readonly LinearModule[],
  warn: (message: string) => void,
): AdapterDescription {
  const parsed = LoraConfig.safeParse(readJsonFile(file, MAX_CONFIG_BYTES));
  if (!parsed.success) throw usageError(`${file}: this adapter is not supported: ${z.prettifyError(parsed.error)}`);
  const config = parsed.data;
  checkOtherFields(file, config, warn);
  const rules = {
    rank: config.r,
    alpha: config.lora_alpha,
    useRslora: config.use_rslora,
    rankPattern: config.rank_pattern ?? {},
    alphaPattern: config.alpha_pattern ?? {},
  };
  if (typeof config.target_modules === 'string' && (isSet(config.layers_to_transform) || isSet(config.layers_pattern)))
    throw usageError(`${file}: layers_to_transform needs target_modules to be a list`);
  const adapted = inFile(file, () => linearModules.filter(adaptedBy(config)));
  if (adapted.length === 0)
    throw usageError(
      `${file}: target_modules ${JSON.stringify(config.target_modules).slice(0, 500)} matches no linear layer of the base model`,
    );
  const description = AdapterDescription.safeParse({
    baseModel: config.base_model_name_or_path ?? '',
    ...rules,
    targetModules: statedTargets(config, adapted),
    fanInFanOut: config.fan_in_fan_out,
    train: 'both',
    modules: inFile(file, () => adapterModules(adapted, rules)),
  });
  if (!description.success) throw usageError(`${file}: ${z.prettifyError(description.error)}`);
  return description.data;
}

/** PEFT passes over what it does not know; a number there cannot be told from one that a later version gives a meaning to. */
function checkOtherFields(file: string, config: LoraConfig, warn: (message: string) => void): void {
  for (const [field, value] of Object.entries(config)) {
    if (Object.hasOwn(LoraConfig.shape, field) || WITHOUT_EFFECT.includes(field)) continue;
    const isConfig = REFUSED_CONFIGS.includes(field);
    if (isConfig ? value === null : !isSet(value)) continue;
    const stated = `${file}: ${field} = ${JSON.stringify(value)?.slice(0, 200)}`;
    if (typeof value !== 'number' || isConfig || REFUSED.includes(field))
      throw usageError(`${stated} is not supported`);
    warn(`${stated} is unknown to PEFT, and passed over`);
  }
}

/** Names the file in an error about a pattern. */
function inFile<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    throw usageError(`${file}: ${error.message}`, { cause: error });
  }
}

/** Tells whether the config adapts a layer: peft/tuners/tuners_utils.py, check_target_module_exists. */
function adaptedBy(config: LoraConfig): (linear: LinearModule) => boolean {
  const { target_modules: targets, exclude_modules: without } = config;
  const excluded = isSet(without) ? targetMatcher(without ?? []) : () => false;
  if (isAllLinear(targets)) return ({ name }) => !excluded(name);
  const named = targetMatcher(targets);
  const inLayers = layerMatcher(config);
  // layers_to_transform chooses among the layers that an ending names, not among whole names.
  const whole = (name: string): boolean => Array.isArray(targets) && targets.includes(name);
  return ({ name }) => !excluded(name) && named(name) && (whole(name) || inLayers(name));
}

/** Whether layers_to_transform keeps the module: its layer is the first number of the name, or the one after a layers_pattern. */
function layerMatcher({ layers_to_transform: layers, layers_pattern: pattern }: LoraConfig): (name: string) => boolean {
  if (!isSet(layers)) return () => true;
  const number = '\\.(?P<index>\\d+)\\.';
  const stems = isSet(pattern)
    ? [pattern ?? []].flat().map((stem) => pythonRegExp(stem, '(?:|.*?\\.)', number))
    : [pythonRegExp('.*?\\.[^.]*', '', number)];
  return (name) => {
    for (const stem of stems) {
      const match = stem.matcher(name);
      if (match.lookingAt()) return [layers].flat().includes(Number(match.group('index')));
    }
    return false;
  };
}

/** target_modules as it stands, or the whole names where it alone does not choose `adapted`. */
function statedTargets(config: LoraConfig, adapted: readonly LinearModule[]): Targets {
  const alone = !isSet(config.exclude_modules) && !isSet(config.layers_to_transform);
  return alone && !isAllLinear(config.target_modules) ? config.target_modules : adapted.map(({ name }) => name);
}

/** The adapter_config.json of `description`: the fields that PEFT has known since 0.9, so that older versions load it too. */
export function peftConfig(description: AdapterDescription): Record<string, unknown> {
  return {
    alpha_pattern: description.alphaPattern,
    auto_mapping: null,
    base_model_name_or_path: description.baseModel === '' ? null : description.baseModel,
    bias: 'none',
    fan_in_fan_out: description.fanInFanOut,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: description.alpha,
    lora_dropout: 0,
    modules_to_save: null,
    peft_type: 'LORA',
    r: description.rank,
    rank_pattern: description.rankPattern,
    revision: null,
    target_modules: description.targetModules,
    task_type: 'CAUSAL_LM',
    use_dora: false,
    use_rslora: description.useRslora,
  };
}

/** Neither null, false, nor empty. */
const isSet = (value: unknown): boolean =>
  value != null && value !== false && value !== '' && !(typeof value === 'object' && Object.keys(value).length === 0);
