/** `onebyte bench kernels`: each backend's operations as rates and as ratios to the reference in the same run. */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import seedrandom from 'seedrandom';
import { adapterLayout } from '../kernels/adapter-layout.ts';
import { type Backend, type Perturbation, PROJECTION_ERROR, type Term } from '../kernels/backend.ts';
import { roundKey, seedKey } from '../kernels/random-keys.ts';
import { referenceBackend } from '../kernels/reference.ts';
import { bytesOf } from '../kernels/replica.ts';
import { BACKEND_CHOICES, selectBackend } from '../kernels/select-backend.ts';
import type { WordPair } from '../kernels/threefry.ts';
import { DECODED_512, encodeE4m3 } from '../proto/e4m3.ts';
import { describeMachine, type Machine } from './machine.ts';
import { median } from './statistics.ts';
import { torchNormalRate } from './torch-normal.ts';

export interface KernelRow {
  /** The backend's name, and its threads where they matter: `simd x2`. */
  readonly backend: string;
  readonly operation: 'update' | 'perturb' | 'project';
  /** Adapter elements. */
  readonly d: number;
  /** Gradients of the update; directions of the perturbation (two-sided, so 2n adapters are written) or of the dot products. */
  readonly n: number;
  readonly stripes: number;
  /** update and project: signs (n·d/stripes) per second; perturb: elements written (2n·d) per second. */
  readonly perSecond: number;
  readonly ratioToReference: number;
  /** Elements that a call worked on: fewer than d where a call with d would take too long. */
  readonly measuredElements: number;
}

export interface KernelBench {
  readonly rows: KernelRow[];
  readonly machine: Machine;
  /** Backends that cannot run here, and why. */
  readonly absent: string[];
  /** torch.normal + add_ for one gradient, elements per second at d = 1,000,000; undefined without PyTorch. */
  readonly torchNormalPerSecond: number | undefined;
}

interface Case {
  readonly operation: KernelRow['operation'];
  readonly d: number;
  readonly n: number;
  readonly stripes: number;
}

const SIZES = [250_000, 1_000_000, 6_500_000];
const CASES: readonly Case[] = [
  ...SIZES.flatMap((d) => [16, 64, 1024].map((n): Case => ({ operation: 'update', d, n, stripes: 1 }))),
  ...[16, 256].map((stripes): Case => ({ operation: 'update', d: 6_500_000, n: 1024, stripes })),
  ...SIZES.map((d): Case => ({ operation: 'perturb', d, n: 2, stripes: 1 })),
  { operation: 'perturb', d: 6_500_000, n: 2, stripes: 16 },
  ...SIZES.flatMap((d) => [16, 256, 1024].map((n): Case => ({ operation: 'project', d, n, stripes: 1 }))),
  { operation: 'project', d: 6_500_000, n: 1024, stripes: 16 },
];
/** Elements of the reference's slice, and of the check that precedes each timing. */
const SLICE = 65_536;
const SAMPLES = 5;
/** Of each sample, ms. */
const BUDGET_MS = 100;

/**
 * Rows for each backend that runs here. only: a part of the names of the backends to measure. The gradients are E4M3 bytes of normal numbers with rms 8, as the learning rule scales them, cut at 24.
 */
export async function benchKernels({ only = '' }: { readonly only?: string }): Promise<KernelBench> {
  const machine = describeMachine();
  const rows: KernelRow[] = [];
  const absent: string[] = [];
  const all = availableParallelism();
  for (const choice of BACKEND_CHOICES) {
    if (choice === 'auto' || choice === 'gpu') continue;
    for (const threads of choice === 'simd' && all > 1 ? [1, all] : [all]) {
      const name = choice === 'simd' ? `simd x${threads}` : choice;
      if (!name.includes(only)) continue;
      let backend: Backend;
      try {
        ({ backend } = await selectBackend(choice, threads));
      } catch (error) {
        absent.push((error as Error).message);
        continue;
      }
      for (const one of CASES) rows.push(await measure(name, backend, one));
      await backend.close();
    }
  }
  return { rows, machine, absent, torchNormalPerSecond: torchNormalRate() };
}

/** Checks one case against the reference, then times both in turns. */
async function measure(name: string, backend: Backend, one: Case): Promise<KernelRow> {
  const reference = prepare(referenceBackend, one, Math.min(one.d, SLICE));
  const check = prepare(backend, one, Math.min(one.d, SLICE));
  await check.run();
  await reference.run();
  check.assertLike(reference, `${name}: ${JSON.stringify(one)}`);

  const probe = Math.min(await time(check.run), await time(check.run));
  const affordable = Math.max(SLICE, 64 * Math.floor((SLICE / 64) * (BUDGET_MS / probe)));
  const elements = Math.min(one.d, affordable);
  const measured = prepare(backend, one, elements);
  await measured.run();
  const rates: number[] = [];
  const referenceRates: number[] = [];
  for (let sample = 0; sample < SAMPLES; sample++) {
    referenceRates.push(reference.work / (await time(reference.run)));
    let spent = 0;
    let calls = 0;
    for (; spent < BUDGET_MS; calls++) spent += await time(measured.run);
    rates.push((calls * measured.work) / spent);
  }
  const perSecond = 1000 * median(rates);
  return {
    backend: name,
    ...one,
    perSecond,
    ratioToReference: perSecond / (1000 * median(referenceRates)),
    measuredElements: elements,
  };
}

interface Prepared {
  readonly run: () => Promise<void>;
  /** Throws unless the last run gave what the last run of `reference` gave: the same bytes, or for dot products, but for rounding. */
  assertLike(reference: Prepared, name: string): void;
  result(): Float32Array | Float64Array;
  /** Sign-additions or elements of one run. */
  readonly work: number;
}

function prepare(backend: Backend, { operation, n, stripes }: Case, elements: number): Prepared {
  const key = roundKey(seedKey(1), 0, 0);
  const theta = backend.allocate(elements);
  if (operation === 'project') return prepareProject(backend, key, n, elements, stripes);
  if (operation === 'update') {
    const terms = someTerms(n, key);
    const run = () => backend.update(theta, terms, 1e-9, stripes);
    return { run, ...sameBytes(theta), work: (n * elements) / stripes };
  }
  const modules = [{ name: 'm', rank: 4, fanIn: elements / 8, fanOut: elements / 8, scale: 1 }];
  const scratch = backend.allocate(2 * n * elements);
  const p: Perturbation = {
    layout: adapterLayout(modules),
    theta,
    roundKey: key,
    firstDirection: 0,
    directions: n,
    step: Math.fround(0.01),
    stripes,
    sides: 'both',
  };
  return { run: () => backend.perturb(p, scratch), ...sameBytes(scratch), work: 2 * n * elements };
}

const sameBytes = (result: Float32Array): Pick<Prepared, 'result' | 'assertLike'> => ({
  result: () => result,
  assertLike: (reference, name) => assert(Buffer.compare(bytesOf(result), bytesOf(reference.result())) === 0, name),
});

function prepareProject(backend: Backend, key: WordPair, n: number, elements: number, stripes: number): Prepared {
  const random = seedrandom('bench/kernels/gradient');
  const gradient = backend.allocate(elements).map(() => normal(random));
  let products: Float64Array = new Float64Array();
  return {
    run: async () => {
      products = await backend.project(gradient, key, 0, n, stripes);
    },
    result: () => products,
    assertLike(reference, name) {
      const bound = PROJECTION_ERROR * Math.sqrt(elements);
      for (const [k, g] of reference.result().entries()) assert(Math.abs(products[k]! - g) <= bound, name);
    },
    work: (n * elements) / stripes,
  };
}

const normal = (random: () => number): number =>
  Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

function someTerms(n: number, key: Term['roundKey']): Term[] {
  const random = seedrandom('bench/kernels');
  return Array.from({ length: n }, (_, direction) => {
    const byte = encodeE4m3(Math.max(-24, Math.min(24, 8 * normal(random))), Math.floor(random() * 2 ** 32));
    return { roundKey: key, direction, q: DECODED_512[byte]! };
  });
}

async function time(run: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}
