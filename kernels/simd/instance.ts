/** One instance of the WebAssembly module with a memory of its own: work space, and at its end the array that it was made for. */
import assert from 'node:assert/strict';
import { MAX_DIRECTIONS } from '../../proto/limits.ts';
import { type AdapterTensor, scratchOffset } from '../adapter-layout.ts';
import { adaptersOf, assertScratch, type Perturbation } from '../backend.ts';
import { BLOCK, blocksOf } from '../direction.ts';
import { firstBlockOf } from '../random-keys.ts';
import type { WordPair } from '../threefry.ts';
import { SIMD_MODULE_BASE64 } from './gen/module.ts';
import { assertPlanFits, type Plan, prepareTerm, RUN_TERMS, TERM_BYTES } from './plan.ts';
import type { ProjectedPart, Projection } from './projection.ts';

/** Blocks that one call sums, at most: 64 KiB of int32. */
export const UNIT_BLOCKS = 256;
const UNIT_BYTES = UNIT_BLOCKS * BLOCK * 4;
/** Elements of θ that `perturb` takes through all directions at a time: they stay in the first-level cache. */
const TILE = 4096;
/** The two words of a block. */
const SIGN_BYTES = BLOCK / 8;

// Byte offsets in the memory. Nothing lies at 0: address 0 stands for "no minus side".
const WORK = 1024;
const SUMS = WORK + 1024 + RUN_TERMS * 32;
const TILES = SUMS + UNIT_BYTES;
const TERM = TILES + 3 * UNIT_BYTES;
const PLAN = TERM + MAX_DIRECTIONS * TERM_BYTES;
/** The three tiles as `project` uses them: gradient, tables, sums. */
const TABLES = TILES + UNIT_BYTES;
const PROJECTED = TILES + 2 * UNIT_BYTES;
const ARRAY = 2 ** 21;
/** 8,192 terms take 0.5 MiB, twice that in the worst of cuts; pages that are not touched take no memory. */
const PLAN_CAPACITY = ARRAY - PLAN;
const PAGE = 2 ** 16;

/** What assembly/*.ts export. Addresses and lengths in bytes, blocks and elements. */
interface Exports {
  sumBlocks(sum: number, first: number, stride: number, count: number, plan: number, total: number, work: number): void;
  applyBlocks(theta: number, sum: number, stride: number, count: number, elements: number, scale: number): void;
  perturbBlocks(
    theta: number,
    plus: number,
    minus: number,
    term: number,
    step: number,
    first: number,
    stride: number,
    from: number,
    to: number,
    work: number,
  ): void;
  projectBlocks(
    sums: number,
    gradient: number,
    first: number,
    stride: number,
    blocks: number,
    terms: number,
    count: number,
    tables: number,
    work: number,
  ): void;
  signBlocks(target: number, term: number, first: number, count: number, work: number): void;
}

/** Blocks first, first + stride, …, `count` of them (at most UNIT_BLOCKS). */
export interface BlockRange {
  readonly first: number;
  readonly stride: number;
  readonly count: number;
}

let compiled: WebAssembly.Module | undefined;

export class SimdInstance {
  /** The array at the end of the memory, zeroed at first. */
  readonly array: Float32Array;
  /** Σ of the last `sum`, int32 `[UNIT_BLOCKS · 64]`, dense. */
  readonly sums: Int32Array;
  readonly #exports: Exports;
  readonly #memory: ArrayBuffer;
  #plan: Plan | undefined;
  #projection: Projection | undefined;

  /** elements: of the array. Throws RangeError when the memory cannot be had (4 GiB at most). */
  constructor(elements: number) {
    compiled ??= new WebAssembly.Module(Buffer.from(SIMD_MODULE_BASE64, 'base64'));
    const pages = Math.ceil((ARRAY + elements * 4) / PAGE);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.#exports = new WebAssembly.Instance(compiled, { env: { memory } }).exports as unknown as Exports;
    this.#memory = memory.buffer;
    this.array = new Float32Array(this.#memory, ARRAY, elements);
    this.sums = new Int32Array(this.#memory, SUMS, UNIT_BLOCKS * BLOCK);
  }

  /** sums ← Σ q·z of the plan's terms for `range`. */
  sum(plan: Plan, { first, stride, count }: BlockRange): void {
    if (this.#plan !== plan) {
      assertPlanFits(plan, PLAN_CAPACITY);
      new Uint8Array(this.#memory, PLAN).set(plan.bytes);
      this.#plan = plan;
    }
    this.#exports.sumBlocks(SUMS, first, stride, count, PLAN, plan.total, WORK);
  }

  /** θᵢ ← fround(θᵢ − fround(scale·sumsᵢ)) for `range` of theta. Blocks outside of it are not touched. */
  apply(theta: Float32Array, { first, stride, count }: BlockRange, scale: number): void {
    const start = first * BLOCK;
    if (theta.buffer === this.#memory) {
      const address = theta.byteOffset + start * 4;
      this.#exports.applyBlocks(address, SUMS, stride, count, theta.length - start, scale);
      return;
    }
    if (stride > 1) {
      for (let k = 0; k < count; k++) {
        const block = start + k * stride * BLOCK;
        const length = Math.min(BLOCK, theta.length - block);
        for (let i = 0; i < length; i++)
          theta[block + i] = theta[block + i]! - Math.fround(scale * this.sums[k * BLOCK + i]!);
      }
      return;
    }
    const piece = theta.subarray(start, start + count * BLOCK);
    const tile = this.#tile(0, piece.length);
    tile.set(piece);
    this.#exports.applyBlocks(TILES, SUMS, 1, count, piece.length, scale);
    piece.set(tile);
  }

  /** Writes the G perturbed adapters `[G · d]`, tensor-major. */
  perturb(p: Perturbation, scratch: Float32Array): void {
    assert(p.directions <= MAX_DIRECTIONS, `${p.directions} directions, at most ${MAX_DIRECTIONS}`);
    assertScratch(p, scratch);
    this.#projection = undefined; // its terms are overwritten
    const firstBlocks: number[] = [];
    for (let j = 0; j < p.directions; j++) {
      prepareTerm(new DataView(this.#memory), TERM + j * TERM_BYTES, p.roundKey, p.firstDirection + j);
      firstBlocks.push(firstBlockOf(p.roundKey, p.firstDirection + j, p.stripes));
    }
    for (const tensor of p.layout.tensors)
      for (let from = tensor.offset; from < tensor.offset + tensor.elements; from += TILE)
        this.#perturbTile(
          p,
          scratch,
          tensor,
          from,
          Math.min(from + TILE, tensor.offset + tensor.elements),
          firstBlocks,
        );
  }

  /** Elements from…to, all in `tensor`, of all adapters. */
  #perturbTile(
    p: Perturbation,
    scratch: Float32Array,
    tensor: AdapterTensor,
    from: number,
    to: number,
    firstBlocks: readonly number[],
  ): void {
    const adapters = adaptersOf(p);
    const theta = p.theta.subarray(from, to);
    const inPlace = scratch.buffer === this.#memory;
    const target = (g: number): Float32Array => {
      const start = scratchOffset(tensor, adapters, g) + from - tensor.offset;
      return scratch.subarray(start, start + theta.length);
    };
    const source = this.#tile(0, theta.length);
    if (p.theta.buffer !== this.#memory) source.set(theta);
    const thetaAddress = p.theta.buffer === this.#memory ? theta.byteOffset : source.byteOffset;
    firstBlocks.forEach((firstBlock, j) => {
      const targets = p.sides === 'both' ? [target(2 * j), target(2 * j + 1)] : [target(j)];
      const written = inPlace ? targets : targets.map((_, side) => this.#tile(1 + side, theta.length));
      if (p.stripes > 1) for (const array of written) array.set(theta);
      const block = Math.floor(from / BLOCK);
      this.#exports.perturbBlocks(
        thetaAddress,
        written[0]!.byteOffset,
        written[1]?.byteOffset ?? 0,
        TERM + j * TERM_BYTES,
        p.step,
        block + ((firstBlock - block) & (p.stripes - 1)),
        p.stripes,
        from,
        to,
        WORK,
      );
      if (!inPlace) for (const [side, array] of targets.entries()) array.set(written[side]!);
    });
    if (p.sides === 'plus') target(p.directions).set(theta);
  }

  /** As `Backend.signs`. */
  signs(roundKey: WordPair, firstDirection: number, directions: number, elements: number): Uint8Array {
    const [blocks, most] = [blocksOf(elements), UNIT_BYTES / SIGN_BYTES];
    const signs = new Uint8Array(directions * blocks * SIGN_BYTES);
    this.#projection = undefined; // its terms are overwritten
    for (let k = 0; k < directions; k++) {
      prepareTerm(new DataView(this.#memory), TERM, roundKey, firstDirection + k);
      for (let first = 0; first < blocks; first += most) {
        const count = Math.min(most, blocks - first);
        this.#exports.signBlocks(TILES, TERM, first, count, WORK);
        signs.set(new Uint8Array(this.#memory, TILES, count * SIGN_BYTES), (k * blocks + first) * SIGN_BYTES);
      }
    }
    return signs;
  }

  /** sums `[directions]` ← Σ gradientᵢ·zᵢ over the elements of the part's blocks, for each direction. */
  project(projection: Projection, gradient: Float32Array, { from, to }: ProjectedPart, sums: Float64Array): void {
    const { directions, stripes, classes, terms } = projection;
    assert(directions <= MAX_DIRECTIONS, `${directions} directions, at most ${MAX_DIRECTIONS}`);
    if (this.#projection !== projection) {
      new Uint8Array(this.#memory, TERM).set(terms);
      this.#projection = projection;
    }
    const projected = new Float64Array(this.#memory, PROJECTED, directions).fill(0);
    let done = 0;
    for (const { firstBlock, members } of classes) {
      const first = from + ((firstBlock - from) & (stripes - 1));
      for (let block = first; block < to; block += UNIT_BLOCKS * stripes) {
        const count = Math.min(UNIT_BLOCKS, Math.ceil((to - block) / stripes));
        this.#gather(gradient, block, stripes, count);
        const [sum, term] = [PROJECTED + done * Float64Array.BYTES_PER_ELEMENT, TERM + done * TERM_BYTES];
        this.#exports.projectBlocks(sum, TILES, block, stripes, count, term, members.length, TABLES, WORK);
      }
      for (const member of members) sums[member] = projected[done++]!;
    }
  }

  /** The first tile ← the blocks first, first + stride, … of `gradient`, one behind another, and zeros up to a multiple of 4 blocks. */
  #gather(gradient: Float32Array, first: number, stride: number, count: number): void {
    const tile = this.#tile(0, 4 * BLOCK * Math.ceil(count / 4));
    const pieces = stride === 1 ? 1 : count;
    const length = stride === 1 ? count * BLOCK : BLOCK;
    for (let k = 0; k < pieces; k++) {
      const start = (first + k * stride) * BLOCK;
      const piece = gradient.subarray(start, start + length);
      tile.set(piece, k * BLOCK);
      if (k === pieces - 1) tile.fill(0, k * BLOCK + piece.length);
    }
  }

  /** One of three tiles of the work space. */
  #tile(index: number, length: number): Float32Array {
    return new Float32Array(this.#memory, TILES + index * UNIT_BYTES, length);
  }
}
