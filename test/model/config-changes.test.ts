/**
 * config.json and adapter_config.json with one key dropped, null, emptied or set (test/golden/make/config_changes.py): what
 * transformers and PEFT make of it is computed, or refused. No change is computed otherwise.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readPeftAdapter } from '../../formats/peft-adapter.ts';
import { adapterLayout } from '../../kernels/adapter-layout.ts';
import { type BaseModel, openBaseModel } from '../../model/base-model.ts';
import type { TokenRow } from '../../model/token-row.ts';
import { OperatingError } from '../../proto/operating-error.ts';
import { openGolden, withForward } from '../support/golden-models.ts';
import { goldenFiles } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

/** Path of the key, its new value (without a path: fields, of which those that are null are dropped), and the sum of losses over the rows; null where transformers or PEFT do not load it. */
type Change = readonly [path: string[], value: 'dropped' | { readonly value: unknown }, expected: number | null];
const golden: Record<'config' | 'adapter', Record<string, Record<string, Change>>> = JSON.parse(
  readFileSync(join(goldenFiles, 'config-changes.json'), 'utf8'),
);
// Summed losses are up to 800 nats, of float32 logits on both sides; the smallest change that a field makes is some 1e-2.
const TOLERANCE = 2e-3;

const readJson = (file: string) => JSON.parse(readFileSync(file, 'utf8'));

function changed(config: Record<string, unknown>, [path, value]: Change): Record<string, unknown> {
  const copy = structuredClone(config);
  const last = path.at(-1);
  if (last === undefined)
    return Object.fromEntries(
      Object.entries({ ...copy, ...(value as { value: object }).value }).filter(([, field]) => field !== null),
    );
  // biome-ignore lint/suspicious/noExplicitAny: a JSON document
  const holder = path.slice(0, -1).reduce((fields: any, key) => fields[key], copy);
  if (value === 'dropped') delete holder[last];
  else holder[last] = value.value;
  return copy;
}

/** A directory with links to the files of `directory` whose names contain `part`. */
function linked(directory: string, part: string): string {
  const copy = temporaryDirectory();
  for (const file of readdirSync(directory))
    if (file.includes(part)) symlinkSync(join(directory, file), join(copy, file));
  return copy;
}

/** Undefined where `open` refuses. */
function unlessRefused<T>(open: () => T): T | undefined {
  try {
    return open();
  } catch (error) {
    assert(error instanceof OperatingError && error.exitCode === 2, `${error instanceof Error ? error.stack : error}`);
    return undefined;
  }
}

function readAdapter(directory: string, model: BaseModel) {
  const { description, matrices } = readPeftAdapter(directory, model.linearModules, () => {});
  return { layout: adapterLayout(description.modules), theta: matrices };
}

/** The summed loss of `rows`; computed once for each `key`. */
function summedLosses(rows: readonly TokenRow[]) {
  const known = new Map<string, Promise<number>>();
  const compute = async (model: BaseModel, adapter: ReturnType<typeof readAdapter> | undefined) => {
    const losses = await withForward(model, adapter, {}, (forward) => forward.losses(rows, 1, adapter?.theta));
    return losses.reduce((sum, loss) => sum + loss, 0);
  };
  return (key: string, model: BaseModel, adapter?: ReturnType<typeof readAdapter>): Promise<number> => {
    const loss = known.get(key) ?? compute(model, adapter);
    known.set(key, loss);
    return loss;
  };
}

function assertClose(name: string, got: number, expected: number): void {
  assert(Math.abs(got - expected) <= TOLERANCE, `${name}: ${got}, transformers computes ${expected}`);
}

describe('a config.json with one key changed gives the losses of transformers, or is refused', () => {
  for (const [name, changes] of Object.entries(golden.config))
    it(name, async () => {
      const directory = join(goldenFiles, name);
      const copy = linked(directory, 'safetensors');
      const config = readJson(join(directory, 'config.json'));
      const { rows } = openGolden(directory);
      const longest = Math.max(...rows.map(({ ids }) => ids.length));
      const lossOf = summedLosses(rows);
      const faults: string[] = [];
      for (const [label, change] of Object.entries(changes)) {
        writeFileSync(join(copy, 'config.json'), JSON.stringify(changed(config, change)));
        const model = unlessRefused(() => openBaseModel(copy));
        const expected = change[2];
        // A model whose rope no longer reaches as far as the rows is no longer given them.
        if (model === undefined || expected === null || model.maxPositions < longest) continue;
        const loss = await lossOf(JSON.stringify(model.architecture), model);
        if (!(Math.abs(loss - expected) <= TOLERANCE))
          faults.push(`${label}: ${loss}, transformers computes ${expected}`);
      }
      assert.deepEqual(faults, []);
    });
});

describe('an adapter_config.json with one key changed gives the losses of PEFT, or is refused', () => {
  for (const [name, changes] of Object.entries(golden.adapter))
    it(name, async () => {
      const directory = join(goldenFiles, name);
      const { rows, model } = openGolden(directory);
      const copy = linked(join(directory, 'adapter'), 'safetensors');
      const config = readJson(join(directory, 'adapter/adapter_config.json'));
      const lossOf = summedLosses(rows.slice(0, 2));
      for (const [label, change] of Object.entries(changes)) {
        writeFileSync(join(copy, 'adapter_config.json'), JSON.stringify(changed(config, change)));
        const adapter = unlessRefused(() => readAdapter(copy, model));
        const expected = change[2];
        if (adapter === undefined || expected === null) continue;
        assertClose(label, await lossOf(JSON.stringify(adapter.layout.modules), model, adapter), expected);
      }
    });
});
