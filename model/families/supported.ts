/** Which model types are supported, by the `model_type` of config.json. */
import { usageError } from '../../proto/operating-error.ts';
import type { Architecture } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';
import { gemma2, gemma3Text } from './gemma.ts';
import { gpt2 } from './gpt2.ts';
import { granite } from './granite.ts';
import { llama } from './llama.ts';
import { mistral } from './mistral.ts';
import { olmo2 } from './olmo2.ts';
import { opt } from './opt.ts';
import { phi3 } from './phi3.ts';
import { qwen2, qwen3 } from './qwen.ts';
import { smollm3 } from './smollm3.ts';
import { whyUnsupported } from './unsupported.ts';

const FAMILIES: Readonly<Record<string, (config: ConfigFields) => Architecture>> = {
  gemma2,
  gemma3_text: gemma3Text,
  gpt2,
  granite,
  llama,
  ministral: mistral,
  mistral,
  olmo2,
  opt,
  phi3,
  qwen2,
  qwen3,
  smollm3,
};

/** @throws OperatingError (usage) that names the model type, or the field that is not supported */
export function describeModel(config: ConfigFields): Architecture {
  const modelType = config.text('model_type');
  const describe = Object.hasOwn(FAMILIES, modelType) ? FAMILIES[modelType] : undefined;
  if (describe === undefined) throw usageError(`${config.file}: ${whyUnsupported(modelType, Object.keys(FAMILIES))}`);
  refuseOtherArithmetic(config);
  return describe(config);
}

/** What transformers reads of every config, whatever its family. */
function refuseOtherArithmetic(config: ConfigFields): void {
  for (const name of ['quantization_config', 'compression_config'])
    if (config.has(name))
      throw config.refuse(
        name,
        'none: the weights are quantized; give the unquantized model (worker.quantize: int8 quantizes it when it is loaded)',
      );
  if (config.has('transformers_weights'))
    throw config.refuse('transformers_weights', 'none: weights are those of model.safetensors or of its index');
  if (config.isNull('is_causal') || !config.flag('is_causal', true))
    throw config.refuse('is_causal', 'true: only causal models are supported');
  if (!config.isEmpty('per_layer_config'))
    throw config.refuse('per_layer_config', 'none: layers of different settings are not supported');
}
