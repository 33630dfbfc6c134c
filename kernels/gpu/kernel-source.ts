/**
 * The kernels for gpu.js, as source text: gpu.js compiles text, and a bundler or tsx would change a function's.
 *
 * gpu.js turns local variables into floats, whatever their initialiser, and all arrays in and out are float32. So integers
 * live in arguments of functions declared Integer (a round of Threefry is a function that calls the next), a 32-bit word
 * enters and leaves as two halves, and a sum leaves as an integer that float32 holds.
 */

import { SKEIN_PARITY } from '../threefry.ts';

/** A function of integers with an integer result. */
export interface IntegerFunction {
  readonly source: string;
  readonly argumentNames: readonly string[];
}

const ROTATIONS = [
  [13, 15, 26, 6],
  [17, 29, 16, 24],
] as const;

/** float32 columns of a term: high and low halves of key word 0, key word 1, direction, first block; block stride; step. */
export const TERM_COLUMNS = 10;

/** In an order in which each calls earlier ones only. */
export function integerFunctions(): IntegerFunction[] {
  const sources = [
    'function add(a, b) { return (a + b) | 0; }',
    'function mix(sum, x1, distance) { return ((x1 << distance) | (x1 >>> (32 - distance))) ^ sum; }',
    `function parity(a, b) { return a ^ b ^ ${SKEIN_PARITY}; }`,
    'function join(high, low) { return (high << 16) | low; }',
    'function block(first, stride, at) { return first + stride * (at >> 2); }',
    'function sign(half, at) { return 1 - 2 * ((half >> (at & 15)) & 1); }',
    'function halfOf(at) { return at >> 4; }',
    `function output(x0, x1, part) {
      if (part === 0) { return x0 & 65535; }
      if (part === 1) { return (x0 >>> 16) & 65535; }
      if (part === 2) { return x1 & 65535; }
      return (x1 >>> 16) & 65535;
    }`,
  ];
  const state = 'x0, x1, k0, k1, k2, part';
  for (let group = 4; group >= 0; group--) {
    const x0 = `add(x0, k${(group + 1) % 3})`;
    const x1 = `add(x1, add(k${(group + 2) % 3}, ${group + 1}))`;
    const after = group === 4 ? `output(${x0}, ${x1}, part)` : `round${4 * group + 4}(${x0}, ${x1}, k0, k1, k2, part)`;
    sources.push(`function inject${group}(${state}) { return ${after}; }`);
    for (let i = 3; i >= 0; i--) {
      const next = i === 3 ? `inject${group}` : `round${4 * group + i + 1}`;
      const mixed = `mix(add(x0, x1), x1, ${ROTATIONS[(group & 1) as 0 | 1][i]})`;
      sources.push(
        `function round${4 * group + i}(${state}) { return ${next}(add(x0, x1), ${mixed}, k0, k1, k2, part); }`,
      );
    }
  }
  sources.push(
    `function threefry(counter0, counter1, k0, k1, part) {
      return round0(add(counter0, k0), add(counter1, k1), k0, k1, parity(k0, k1), part);
    }`,
  );
  return sources.map((source) => ({ source, argumentNames: source.match(/\(([^)]*)\)/)![1]!.split(', ') }));
}

const wordsAt = (row: string): string => `return threefry(
    block(join(terms[${row}][6], terms[${row}][7]), terms[${row}][8], this.thread.x),
    join(terms[${row}][4], terms[${row}][5]),
    join(terms[${row}][0], terms[${row}][1]),
    join(terms[${row}][2], terms[${row}][3]),
    this.thread.x & 3
  );`;

/** terms `[n, TERM_COLUMNS]` → `[n, 4 · blocks]`: the 64 sign bits of each block in four 16-bit halves, element order. */
export const WORDS = `function words(terms) { ${wordsAt('this.thread.y')} }`;

/** The same for one term, `[1, TERM_COLUMNS]` → `[4 · blocks]`: a second dimension of 1 would leave 7 of 8 GPU threads idle. */
export const WORDS_OF_ONE = `function wordsOfOne(terms) { ${wordsAt('0')} }`;

/** words `[n, 4 · blocks]`, q `[n]` → Σ q·z `[64 · blocks]`, exact while Σ|q| < 2²⁴. */
export const sumsOf = (n: number): string => `function sums(words, q) {
  let sum = 0;
  for (let t = 0; t < ${n}; t++) {
    sum += q[t] * sign(words[t][halfOf(this.thread.x)], this.thread.x);
  }
  return sum;
}`;

/** words `[n, 4 · blocks]`, gradient `[64 · blocks]` → g·z of each block, `[n, blocks]`. */
export const PRODUCTS = `function products(words, gradient) {
  let sum = 0;
  for (let i = 0; i < 64; i++) {
    sum += gradient[this.thread.x * 64 + i] * sign(words[this.thread.y][this.thread.x * 4 + halfOf(i)], i);
  }
  return sum;
}`;

/** theta `[64 · blocks]`, words `[4 · blocks]`, terms `[1, TERM_COLUMNS]` → `[2 · 64 · blocks]`: θ + step·z, then θ − step·z. */
export const perturbedOf = (blocks: number): string => `function perturbed(theta, words, terms) {
  if (this.thread.x < ${64 * blocks}) {
    return theta[this.thread.x] + terms[0][9] * sign(words[halfOf(this.thread.x)], this.thread.x);
  }
  return theta[this.thread.x - ${64 * blocks}] - terms[0][9] * sign(words[halfOf(this.thread.x - ${64 * blocks})], this.thread.x);
}`;
