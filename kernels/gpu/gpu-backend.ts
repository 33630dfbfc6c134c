/** The gpu.js backend: directions, θ ± step·z, S and dot products on the device; θ −= scale·S on the host, in float64. */
import { type AdapterLayout, scratchOffset } from '../adapter-layout.ts';
import { adaptersOf, assertExactSum, assertScratch, type Backend, type Perturbation, type Term } from '../backend.ts';
import { BLOCK, blocksOf } from '../direction.ts';
import { firstBlockOf } from '../random-keys.ts';
import { referenceBackend } from '../reference.ts';
import { type TermClass, termClasses } from '../term-classes.ts';
import { type GpuDevice, type GpuMode, openGpu, type TermRow, termRow } from './device.ts';

/** Blocks of a tile, at most: 262,144 elements. */
const TILE_BLOCKS = 4096;
/** Terms of one pass over a tile, at most: their sign bits take 16 MiB on the device. */
const PASS_TERMS = 256;
/** Σ|q| of one pass, at most: its sums are float32 and must be exact. */
const PASS_SUM = 2 ** 24 - 1;

/** Throws when `mode` is webgpu and there is no adapter. */
export async function gpuBackend(mode: GpuMode): Promise<Backend> {
  const device = await openGpu(mode);
  return {
    name: `gpu-${mode}`,
    allocate: (elements) => new Float32Array(elements),
    perturb: (p, scratch) => perturb(device, p, scratch),

    async update(theta, terms, scale, stripes) {
      assertExactSum(terms);
      for (const members of termClasses(terms, stripes)) await updateClass(device, theta, members, scale, stripes);
    },

    project: (gradient, roundKey, firstDirection, directions, stripes) => {
      const terms = Array.from({ length: directions }, (_, k) => ({ roundKey, direction: firstDirection + k, q: 1 }));
      return project(device, gradient, terms, stripes);
    },

    // Two words a block, of which the device would have to send each back.
    signs: referenceBackend.signs,

    close: () => device.close(),
  };
}

const powerOfTwoAbove = (n: number): number => 2 ** Math.ceil(Math.log2(n));

/** The first of each tile's blocks among first, first + stripes, …, and how many follow. */
function tiles(d: number, first: number, stripes: number): { first: number; count: number }[] {
  const used = Math.ceil((blocksOf(d) - first) / stripes);
  const cut: { first: number; count: number }[] = [];
  for (let k = 0; k < used; k += TILE_BLOCKS)
    cut.push({ first: first + k * stripes, count: Math.min(TILE_BLOCKS, used - k) });
  return cut;
}

async function updateClass(
  device: GpuDevice,
  theta: Float32Array,
  { firstBlock, terms }: TermClass,
  scale: number,
  stripes: number,
): Promise<void> {
  const passes = cutIntoPasses(terms);
  for (const { first, count } of tiles(theta.length, firstBlock, stripes)) {
    const blocks = powerOfTwoAbove(count);
    const sum = new Int32Array(blocks * BLOCK);
    for (const pass of passes) {
      const rows = rowsOf(pass, first, stripes);
      const q = new Float32Array(rows.length);
      q.set(pass.map((term) => term.q));
      const part = await device.sums(blocks, rows, q);
      for (let i = 0; i < sum.length; i++) sum[i]! += part[i]!;
    }
    for (let k = 0; k < count; k++) {
      const start = (first + k * stripes) * BLOCK;
      const length = Math.min(BLOCK, theta.length - start);
      for (let i = 0; i < length; i++) theta[start + i] = theta[start + i]! - Math.fround(scale * sum[k * BLOCK + i]!);
    }
  }
}

/** g·z for each of `terms`, which are directions firstDirection, firstDirection + 1, …. */
async function project(
  device: GpuDevice,
  gradient: Float32Array,
  terms: readonly Term[],
  stripes: number,
): Promise<Float64Array> {
  const products = new Float64Array(terms.length);
  for (const { firstBlock, terms: members } of termClasses(terms, stripes))
    for (const { first, count } of tiles(gradient.length, firstBlock, stripes)) {
      const blocks = powerOfTwoAbove(count);
      const tile = new Float32Array(blocks * BLOCK);
      for (let k = 0; k < count; k++) {
        const start = (first + k * stripes) * BLOCK;
        tile.set(gradient.subarray(start, start + BLOCK), k * BLOCK);
      }
      for (const pass of cutIntoPasses(members)) {
        const parts = await device.products(blocks, rowsOf(pass, first, stripes), tile);
        pass.forEach(({ direction }, i) => {
          products[direction - terms[0]!.direction]! += parts[i]!;
        });
      }
    }
  return products;
}

/** The rows of a pass for the blocks first, first + stripes, …, filled up to a power of two: what these give is for the reader to leave out. */
function rowsOf(pass: readonly Term[], first: number, stripes: number): TermRow[] {
  const rows = pass.map(({ roundKey, direction }) => termRow(roundKey, direction, first, stripes, 0));
  while (rows.length < powerOfTwoAbove(pass.length)) rows.push(rows[0]!);
  return rows;
}

function cutIntoPasses(terms: readonly Term[]): Term[][] {
  const passes: Term[][] = [];
  let room = 0;
  for (const term of terms) {
    const size = Math.abs(term.q);
    if (passes.length === 0 || size > room || passes.at(-1)!.length === PASS_TERMS) {
      passes.push([]);
      room = PASS_SUM;
    }
    passes.at(-1)!.push(term);
    room -= size;
  }
  return passes;
}

async function perturb(device: GpuDevice, p: Perturbation, scratch: Float32Array): Promise<void> {
  const { layout, theta, stripes } = p;
  const adapters = adaptersOf(p);
  assertScratch(p, scratch);
  const copies = stripes > 1 ? adapters : 0; // unused blocks are θ itself
  for (let g = 0; g < copies; g++) writeRange(layout, scratch, adapters, g, 0, theta);
  if (p.sides === 'plus') writeRange(layout, scratch, adapters, adapters - 1, 0, theta);
  for (let j = 0; j < p.directions; j++) {
    const direction = p.firstDirection + j;
    const firstBlock = firstBlockOf(p.roundKey, direction, stripes);
    for (const { first, count } of tiles(layout.elements, firstBlock, stripes)) {
      const row = termRow(p.roundKey, direction, first, stripes, p.step);
      const pieces = stripes === 1 ? [{ from: first * BLOCK, length: count * BLOCK }] : [];
      for (let k = 0; stripes > 1 && k < count; k++)
        pieces.push({ from: (first + k * stripes) * BLOCK, length: BLOCK });
      const blocks = powerOfTwoAbove(count);
      const tile = new Float32Array(blocks * BLOCK);
      pieces.forEach(({ from, length }, i) => {
        tile.set(theta.subarray(from, from + length), i * BLOCK);
      });
      const sides = await device.perturbed(blocks, tile, row);
      for (const [i, { from, length }] of pieces.entries()) {
        const here = (side: Float32Array) =>
          side.subarray(i * BLOCK, i * BLOCK + Math.min(length, theta.length - from));
        writeRange(layout, scratch, adapters, p.sides === 'both' ? 2 * j : j, from, here(sides[0]));
        if (p.sides === 'both') writeRange(layout, scratch, adapters, 2 * j + 1, from, here(sides[1]));
      }
    }
  }
}

/** Elements from, from + 1, … of adapter g ← values. */
function writeRange(
  layout: AdapterLayout,
  scratch: Float32Array,
  adapters: number,
  g: number,
  from: number,
  values: Float32Array,
): void {
  const to = from + values.length;
  let low = 0;
  let high = layout.tensors.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (layout.tensors[middle]!.offset <= from) low = middle;
    else high = middle - 1;
  }
  for (let at = from, t = low; at < to; t++) {
    const tensor = layout.tensors[t]!;
    const end = Math.min(to, tensor.offset + tensor.elements);
    scratch.set(values.subarray(at - from, end - from), scratchOffset(tensor, adapters, g) + at - tensor.offset);
    at = end;
  }
}
