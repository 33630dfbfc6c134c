/** The fixtures of test/golden/models, and the comparison of a forward pass with their numbers. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AdapterLayout } from '../../kernels/adapter-layout.ts';
import { referenceBackend } from '../../kernels/reference.ts';
import type { WordPair } from '../../kernels/threefry.ts';
import { type BaseModel, openBaseModel } from '../../model/base-model.ts';
import type { ForwardAdapter } from '../../model/runtime/adapter-feeds.ts';
import { createForward, type Forward, type ForwardOptions } from '../../model/runtime/forward.ts';
import { completionRow, type TokenRow } from '../../model/token-row.ts';
import { readFixtureAdapter } from './fixture-adapter.ts';
import { goldenFiles, goldenModels } from './onebyte.ts';

const models = join(goldenFiles, 'models');

// biome-ignore lint/suspicious/noExplicitAny: a JSON document
type Expected = any;

export interface Fixture {
  readonly name: string;
  /** expected.json; see test/golden/models/README.md. */
  readonly golden: Expected;
}

export function fixtures(): Fixture[] {
  return goldenModels().map((name) => ({
    name,
    golden: readExpected(join(models, name)),
  }));
}

const readExpected = (directory: string): Expected =>
  JSON.parse(readFileSync(join(directory, 'expected.json'), 'utf8'));

interface Sequence {
  readonly ids: number[];
  readonly n_completion_tokens: number;
}

const rowOf = ({ ids, n_completion_tokens }: Sequence): TokenRow =>
  completionRow(ids, ids.length - n_completion_tokens);

/** The rows of an expected.json, of a fixture or of a variation. */
const rowsOf = ({ rows, examples }: Expected): TokenRow[] =>
  rows?.map(({ ids, firstCompletion }: { ids: number[]; firstCompletion: number }) =>
    completionRow(ids, firstCompletion),
  ) ?? examples.map(rowOf);

/** Asserts losses, logits and option likelihoods of one variant (base, or an adapter). Tolerances are absolute. */
export async function assertGolden(
  { name, golden }: Fixture,
  variant: string,
  options: Partial<ForwardOptions>,
  tolerance: { readonly nll: number; readonly logit: number },
): Promise<void> {
  const directory = join(models, name);
  const expected = golden.variants[variant];
  const rows = rowsOf(golden);
  const model = openBaseModel(directory);
  const adapter = expected.adapter ? readFixtureAdapter(join(directory, expected.adapter), model) : undefined;
  await withForward(model, adapter, options, async (forward) => {
    assertClose(await forward.losses(rows, 1, adapter?.theta), expected.nll, tolerance.nll, 'nll');
    assertClose(await forward.logits(rows, 1, adapter?.theta), expected.logits.flat(), tolerance.logit, 'logit');
    for (const [i, { candidates }] of golden.classification.entries()) {
      const losses = await forward.losses(candidates.map(rowOf), 1, adapter?.theta);
      const likelihoods = Array.from(losses, (loss) => -loss);
      assertClose(likelihoods, expected.classification[i].loglik, tolerance.nll, 'loglik');
    }
  });
}

/** Fails where an element is further off than `tolerance`. */
export function assertClose(
  got: ArrayLike<number>,
  expected: readonly number[],
  tolerance: number,
  what: string,
): void {
  assert.equal(got.length, expected.length);
  expected.forEach((value, i) => {
    const difference = Math.abs(got[i]! - value);
    assert(difference <= tolerance, `${what} ${i}: got ${got[i]}, expected ${value}, differs by ${difference}`);
  });
}

/** How golden numbers are compared: on the CPU, with the weights as they are. */
export const onCpu = { provider: 'cpu', threads: 1, quantize: 'none' } as const;

/** What `use` makes of a forward pass, on the CPU unless `more` says otherwise; it is closed behind that. */
export async function withForward<T>(
  model: BaseModel,
  adapter: ForwardAdapter | undefined,
  more: Partial<ForwardOptions>,
  use: (forward: Forward) => Promise<T>,
): Promise<T> {
  const forward = await createForward(model, adapter, { ...onCpu, ...more });
  try {
    return await use(forward);
  } finally {
    await forward.close();
  }
}

/** The first `directions` directions under `key`, tensor-major. */
export async function directionsOf(layout: AdapterLayout, key: WordPair, directions: number): Promise<Float32Array> {
  const z = new Float32Array(directions * layout.elements);
  const theta = new Float32Array(layout.elements);
  const steps = { layout, theta, roundKey: key, firstDirection: 0, directions, step: 1, stripes: 1 };
  await referenceBackend.perturb({ ...steps, sides: 'plusOnly' }, z);
  return z;
}

/** A golden model, what is expected of it, its rows and its adapter. */
export function openGolden(directory: string) {
  const expected = readExpected(directory);
  const model = openBaseModel(directory);
  return { expected, rows: rowsOf(expected), model, ...readFixtureAdapter(join(directory, 'adapter'), model) };
}
