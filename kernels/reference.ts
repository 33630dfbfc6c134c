/** The plain TypeScript backend: short rather than fast, and the judge of all others. */
import { scratchOffset } from './adapter-layout.ts';
import { adaptersOf, assertExactSum, assertScratch, type Backend, type Perturbation, type Term } from './backend.ts';
import { addDirection, direction, dotDirection, signWords } from './direction.ts';

export const referenceBackend: Backend = {
  name: 'reference',
  allocate: (elements) => new Float32Array(elements),

  async perturb(p: Perturbation, scratch: Float32Array): Promise<void> {
    assertScratch(p, scratch);
    for (let j = 0; j < p.directions; j++) {
      const z = direction(p.roundKey, p.firstDirection + j, p.layout.elements, p.stripes);
      if (p.sides === 'both') {
        writeAdapter(p, scratch, 2 * j, z, p.step);
        writeAdapter(p, scratch, 2 * j + 1, z, -p.step);
      } else {
        writeAdapter(p, scratch, j, z, p.step);
      }
    }
    if (p.sides === 'plus') writeAdapter(p, scratch, p.directions, undefined, 0);
  },

  async update(theta: Float32Array, terms: readonly Term[], scale: number, stripes: number): Promise<void> {
    assertExactSum(terms);
    const sum = new Int32Array(theta.length);
    for (const { roundKey, direction: index, q } of terms) addDirection(sum, q, roundKey, index, stripes);
    for (let i = 0; i < theta.length; i++) theta[i] = theta[i]! - Math.fround(scale * sum[i]!);
  },

  async project(gradient, roundKey, firstDirection, directions, stripes) {
    return Float64Array.from({ length: directions }, (_, k) =>
      dotDirection(gradient, roundKey, firstDirection + k, stripes),
    );
  },

  async signs(roundKey, firstDirection, directions, elements) {
    const words = Array.from({ length: directions }, (_, k) => signWords(roundKey, firstDirection + k, elements));
    return Buffer.concat(words.map(({ buffer }) => new Uint8Array(buffer)));
  },

  async close() {},
};

function writeAdapter(p: Perturbation, scratch: Float32Array, g: number, z: Int8Array | undefined, step: number): void {
  for (const tensor of p.layout.tensors) {
    const target = scratchOffset(tensor, adaptersOf(p), g);
    for (let i = 0; i < tensor.elements; i++) {
      const at = tensor.offset + i;
      const sign = z?.[at] ?? 0;
      scratch[target + i] = sign === 0 ? p.theta[at]! : p.theta[at]! + step * sign;
    }
  }
}
