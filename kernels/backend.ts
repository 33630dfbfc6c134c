/**
 * What a kernel backend does: the operations whose cost grows with the adapter. What moves a replica has the same bits on all of them.
 *
 * The room kernels/ is the arithmetic of a replica: the same numbers on every machine. It knows no model, no row of data and no network.
 */
import assert from 'node:assert/strict';
import type { AdapterLayout } from './adapter-layout.ts';
import type { WordPair } from './threefry.ts';

/** Perturbed adapters of one contribution. */
export interface Perturbation {
  readonly layout: AdapterLayout;
  /** θ `[d]`, read only. */
  readonly theta: Float32Array;
  /** Key of (run seed, round, worker). */
  readonly roundKey: WordPair;
  readonly firstDirection: number;
  /** K, the number of directions. */
  readonly directions: number;
  /** fround(ε√m): the length of a step along each non-zero element of a direction. */
  readonly step: number;
  /** m: 1, 4, 16, 64 or 256. */
  readonly stripes: number;
  /**
   * `both`: G = 2K adapters, θ + step·z of direction j at 2j and θ − step·z at 2j + 1.
   * `plus`: G = K + 1 adapters, θ + step·z of direction j at j and θ itself at K.
   * `plusOnly`: G = K adapters, θ + step·z of direction j at j.
   */
  readonly sides: 'both' | 'plus' | 'plusOnly';
}

/** G, the number of adapters that a perturbation writes. */
export const adaptersOf = ({ directions, sides }: Pick<Perturbation, 'directions' | 'sides'>): number =>
  ({ both: 2 * directions, plus: directions + 1, plusOnly: directions })[sides];

/** Throws unless `scratch` holds what the perturbation writes. */
export function assertScratch(p: Perturbation, scratch: Float32Array): void {
  assert.equal(scratch.length, adaptersOf(p) * p.layout.elements, 'scratch holds G adapters of d elements');
}

/** One gradient of a record: its direction, and Q = 512 × its decoded, requantised, winsorised byte. */
export interface Term {
  readonly roundKey: WordPair;
  readonly direction: number;
  /** An integer, |q| ≤ 448·512. */
  readonly q: number;
}

/** Σ|q| of an update, at most: every partial sum of S, in any order, then fits int32. 8,192 terms of 448·512 just fit. */
const LARGEST_SUM = 2 ** 31 - 1;

/** Throws unless S of these terms is exact in int32, whatever the signs and the order. */
export function assertExactSum(terms: readonly Term[]): void {
  const total = terms.reduce((sum, { q }) => sum + Math.abs(q), 0);
  assert(total <= LARGEST_SUM, `terms add up to ${total} in magnitude: S is exact up to ${LARGEST_SUM}`);
}

/**
 * How far backends' dot products with directions may be apart, in norms of the gradient (a norm is their root mean square):
 * they sum blocks of 64 elements in float32 and blocks in float64, of which 2e-7 remain. E4M3 rounds to 6e-2.
 */
export const PROJECTION_ERROR = 2 ** -20;

export interface Backend {
  readonly name: string;
  /**
   * A zeroed buffer where this backend works fastest (θ, scratch). Plain arrays are accepted everywhere too.
   * Its ArrayBuffer is not shared (ONNX Runtime takes it), cannot be transferred, and may begin before the array: mind `byteOffset`.
   */
  allocate(elements: number): Float32Array;
  /** Writes the G perturbed adapters into `scratch` `[G · d]`, tensor-major (see `scratchOffset`). */
  perturb(perturbation: Perturbation, scratch: Float32Array): Promise<void>;
  /**
   * θᵢ ← fround(θᵢ − fround(scale·Sᵢ)) with the exact integer Sᵢ = Σ q·zᵢ over at most 8,192 terms (S fits int32).
   * `theta` `[d]` is updated in place.
   */
  update(theta: Float32Array, terms: readonly Term[], scale: number, stripes: number): Promise<void>;
  /**
   * g·z for K directions: element k is Σ gradientᵢ·zᵢ of direction firstDirection + k under `roundKey`. → `[K]`, K at most 2,048.
   * gradient: float32 `[d]`, read only. A measurement, so backends may round differently: by PROJECTION_ERROR at most.
   */
  project(
    gradient: Float32Array,
    roundKey: WordPair,
    firstDirection: number,
    directions: number,
    stripes: number,
  ): Promise<Float64Array>;
  /**
   * The sign bits of `directions` directions of d `elements`, 64 for each block, used or not: `[K · blocks · 8]` bytes, direction by
   * direction. Bit i & 7 of byte i >> 3 is element i's: 0 for +1, 1 for −1. What no stripe uses is for the reader to leave out.
   */
  signs(roundKey: WordPair, firstDirection: number, directions: number, elements: number): Promise<Uint8Array>;
  /** Ends threads and devices. */
  close(): Promise<void>;
}

/** A copy of `values` in a buffer that the backend has allocated. */
export function ownedCopy(backend: Backend, values: Float32Array): Float32Array {
  const copy = backend.allocate(values.length);
  copy.set(values);
  return copy;
}
