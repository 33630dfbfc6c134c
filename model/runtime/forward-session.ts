/** Where a forward pass runs: the provider, and what its sessions have in common. */
import { turnOffTf32 } from '../../platform/nvidia.ts';
import { usageError } from '../../proto/operating-error.ts';
import type { BaseModel } from '../base-model.ts';
import { chooseProvider } from './choose-provider.ts';
import type { ForwardOptions } from './forward.ts';
import { hasExactInt8 } from './int8-support.ts';
import type { Provider } from './provider.ts';
import type { SessionOptions } from './session.ts';
import { checkFloat32 } from './tf32.ts';

/** The provider, and what its sessions have in common. */
export async function sessionFor(
  model: BaseModel,
  { precision = 'float32', threads, device, ...options }: ForwardOptions,
) {
  if (precision !== 'float32' && (options.quantize === 'int8' || options.tangents === 'int8'))
    throw usageError(`worker.precision ${precision}: products in 8 bits have no other; set worker.precision: float32`);
  if (precision !== 'tf32') turnOffTf32();
  const rounding = { precision, head: model.weights.get(model.architecture.head.name)!.name };
  const chosen = await chooseProvider(options.provider, model, { threads, device, rounding });
  const session: SessionOptions = { provider: chosen.provider, threads, device, rounding };
  if (chosen.provider !== 'cpu') await checkFloat32(precision, session);
  return { chosen, session: { ...session, profileDirectory: options.profileDirectory } };
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
