/** The adapter a run starts from: A uniform in ±1/√fanIn, B zero. A pure function of the run seed. */
import type { AdapterLayout } from './adapter-layout.ts';
import { adapterLayout } from './adapter-layout.ts';
import { initialAdapterKey, seedKey } from './random-keys.ts';
import { threefry } from './threefry.ts';

/**
 * θ of round 0 for A and B of all modules, whatever the layout trains.
 * Element k of a module's A is word k&1 of block base + (k>>1); base goes on from module to module.
 */
export function initialAdapter(seed: number, modules: AdapterLayout['modules']): Float32Array {
  const { tensors, elements } = adapterLayout(modules, 'both');
  const theta = new Float32Array(elements);
  const key = initialAdapterKey(seedKey(seed));
  let base = 0;
  for (const tensor of tensors) {
    if (tensor.matrix === 'B') continue;
    const bound = Math.sqrt(tensor.shape[1]);
    for (let k = 0; k < tensor.elements; k += 2) {
      const words = threefry(key, base++, 0);
      theta[tensor.offset + k] = (words[0] / 2 ** 31 - 1) / bound;
      if (k + 1 < tensor.elements) theta[tensor.offset + k + 1] = (words[1] / 2 ** 31 - 1) / bound;
    }
  }
  return theta;
}
