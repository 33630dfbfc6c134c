/** The fixtures of test/golden/models, and the comparison of a forward pass with their numbers. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openBaseModel } from '../../model/base-model.ts';
import { createForward, type ForwardOptions } from '../../model/runtime/forward.ts';
import { completionRow, type TokenRow } from '../../model/token-row.ts';
import { readFixtureAdapter } from './fixture-adapter.ts';
import { goldenFiles, goldenModels } from './onebyte.ts';

const models = join(goldenFiles, 'models');

export interface Fixture {
  readonly name: string;
  /** expected.json; see test/golden/models/README.md. */
  // biome-ignore lint/suspicious/noExplicitAny: a JSON document whose fields are read in one place, below
  readonly golden: any;
}

export function fixtures(): Fixture[] {
  return goldenModels().map((name) => ({
    name,
    golden: JSON.parse(readFileSync(join(models, name, 'expected.json'), 'utf8')),
  }));
}

interface Sequence {
  readonly ids: number[];
  readonly n_completion_tokens: number;
}

export const rowOf = ({ ids, n_completion_tokens }: Sequence): TokenRow =>
  completionRow(ids, ids.length - n_completion_tokens);

/** The rows of an expected.json, of a fixture or of a variation. */
// biome-ignore lint/suspicious/noExplicitAny: a JSON document
export const rowsOf = ({ rows, examples }: any): TokenRow[] =>
  rows?.map(({ ids, firstCompletion }: { ids: number[]; firstCompletion: number }) =>
    completionRow(ids, firstCompletion),
  ) ?? examples.map(rowOf);

/** Asserts losses, logits and option likelihoods of one variant (base, or an adapter). Tolerances are absolute. */
export async function assertGolden(
  { name, golden }: Fixture,
  variant: string,
  options: ForwardOptions,
  tolerance: { readonly nll: number; readonly logit: number },
): Promise<void> {
  const directory = join(models, name);
  const expected = golden.variants[variant];
  const rows = rowsOf(golden);
  const model = openBaseModel(directory);
  const adapter = expected.adapter ? readFixtureAdapter(join(directory, expected.adapter), model) : undefined;
  const forward = await createForward(model, adapter, options);
  assertClose(await forward.losses(rows, 1, adapter?.theta), expected.nll, tolerance.nll, 'nll');
  assertClose(await forward.logits(rows, 1, adapter?.theta), expected.logits.flat(), tolerance.logit, 'logit');
  for (const [i, { candidates }] of golden.classification.entries()) {
    const losses = await forward.losses(candidates.map(rowOf), 1, adapter?.theta);
    const likelihoods = Array.from(losses, (loss) => -loss);
    assertClose(likelihoods, expected.classification[i].loglik, tolerance.nll, 'loglik');
  }
  await forward.close();
}

function assertClose(got: ArrayLike<number>, expected: readonly number[], tolerance: number, what: string): void {
  assert.equal(got.length, expected.length);
  expected.forEach((value, i) => {
    const difference = Math.abs(got[i]! - value);
    assert(difference <= tolerance, `${what} ${i}: got ${got[i]}, expected ${value}, differs by ${difference}`);
  });
}

/** How golden numbers are compared: on the CPU, with the weights as they are. */
export const onCpu = { provider: 'cpu', threads: 1, quantize: 'none' } as const;

/** A golden model, its rows and its adapter. */
export function openGolden(directory: string) {
  const expected = JSON.parse(readFileSync(join(directory, 'expected.json'), 'utf8'));
  const model = openBaseModel(directory);
  const name = readdirSync(directory).find((name) => name.startsWith('adapter'))!;
  return { rows: rowsOf(expected), model, ...readFixtureAdapter(join(directory, name), model) };
}
