/** The activation functions by the names that transformers gives them. */
import type { Activation } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  silu: 'silu',
  swish: 'silu',
  gelu: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_fast: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
  quick_gelu: 'quick_gelu',
  relu: 'relu',
};

/** @throws OperatingError (usage) with the list of known names */
export function activationOf(config: ConfigFields, field: string, fallback: string): Activation {
  const activation = ACTIVATIONS[config.text(field, fallback)];
  if (activation === undefined) throw config.refuse(field, `one of ${Object.keys(ACTIVATIONS).join(', ')}`);
  return activation;
}
