/** Which model types are supported, by the `model_type` of config.json. */
import { usageError } from '../../proto/operating-error.ts';
import type { Architecture } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';
import { gemma2, gemma3Text } from './gemma.ts';
import { gpt2 } from './gpt2.ts';
import { llama } from './llama.ts';
import { mistral } from './mistral.ts';
import { opt } from './opt.ts';
import { phi3 } from './phi3.ts';
import { qwen2, qwen3 } from './qwen.ts';
import { smollm3 } from './smollm3.ts';

const FAMILIES: Readonly<Record<string, (config: ConfigFields) => Architecture>> = {
  gemma2,
  gemma3_text: gemma3Text,
  gpt2,
  llama,
  mistral,
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
  if (describe === undefined)
    throw usageError(
      `${config.file}: model_type ${JSON.stringify(modelType)} is not supported; supported are ${Object.keys(FAMILIES).join(', ')}`,
    );
  if (config.has('quantization_config'))
    throw config.refuse(
      'quantization_config',
      'none: give the unquantized model (worker.quantize: int8 quantizes at load)',
    );
  return describe(config);
}
