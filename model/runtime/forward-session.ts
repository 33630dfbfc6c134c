/** Where a forward pass runs: the provider, and what its sessions have in common. */
import { prepareCuda } from '../../platform/nvidia.ts';
import { usageError } from '../../proto/operating-error.ts';
import type { BaseModel } from '../base-model.ts';
import type { Precision } from '../graph/precision.ts';
import { chooseProvider, roundingOf } from './choose-provider.ts';
import type { ForwardOptions } from './forward.ts';
import { hasExactInt8 } from './int8-support.ts';
import type { Provider } from './provider.ts';
import type { SessionOptions } from './session.ts';
import { checkFloat32 } from './tf32.ts';

/** The provider, and what its sessions have in common. */
export async function sessionFor(model: BaseModel, { threads, device, profileDirectory, ...options }: ForwardOptions) {
  prepareCuda(options.precision === 'tf32');
  const precisionOn = (provider: Provider): Precision => precisionOf(provider, options);
  const int8Tangents = options.tangents === 'int8';
  const chosen = await chooseProvider(options.provider, model, { threads, device, precisionOn, int8Tangents });
  const { provider, precision } = chosen;
  const session: SessionOptions = { provider, threads, device, rounding: roundingOf(model, precision) };
  if (provider !== 'cpu') await checkFloat32(precision, session);
  return { chosen, session: { ...session, profileDirectory } };
}

type Products = Pick<ForwardOptions, 'precision' | 'quantize' | 'tangents' | 'gradients' | 'step'>;

/** The shortest finite step that float16 is taken for unasked: at 1e-2 it adds nothing to the error, at 1e-3 half of it, at 3e-4 it is most of it. */
const LEAST_FLOAT16_STEP = 3e-3;

/**
 * The precision that is asked for, or the provider's own: of those that agree with float32 as well as a byte can tell, CUDA's fastest.
 * A gradient's elements may be smaller than float16 has (docs/gpu.md).
 */
export function precisionOf(
  provider: Provider,
  { precision, quantize, tangents, gradients, step = LEAST_FLOAT16_STEP }: Products,
): Precision {
  const eight = quantize === 'int8' || tangents === 'int8';
  if (eight && precision !== undefined && precision !== 'float32')
    throw usageError(`worker.precision ${precision}: products in 8 bits have no other; set worker.precision: float32`);
  if (precision !== undefined || provider !== 'cuda' || eight) return precision ?? 'float32';
  if (gradients) return 'bfloat16';
  return step < LEAST_FLOAT16_STEP ? 'float32' : 'float16';
}

export async function checkInt8(provider: Provider): Promise<void> {
  const advice = 'set worker.tangentPrecision: float32';
  if (provider !== 'cpu')
    throw usageError(
      `worker.tangentPrecision int8: the provider is ${provider}, expected cpu; set worker.provider: cpu, or ${advice}`,
    );
  if (!(await hasExactInt8()))
    throw usageError(`worker.tangentPrecision int8: 8-bit sums saturate on this CPU (x86 without VNNI); ${advice}`);
}
