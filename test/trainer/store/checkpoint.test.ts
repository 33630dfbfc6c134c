/** Checkpoints appear whole, and damage in one is noticed. */

import assert from 'node:assert/strict';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { adapterDirectory } from '../../../cli/adapter-directory.ts';
import { readPeftAdapter } from '../../../formats/peft-adapter.ts';
import { initialReplica } from '../../../kernels/replica.ts';
import { initialMatrices, layoutOf, learningRuleOf, trainedPart } from '../../../kernels/run-replica.ts';
import {
  checkpointName,
  checkpointProblem,
  forgetBest,
  isBest,
  newestCheckpoint,
  writeCheckpoint,
} from '../../../trainer/store/checkpoint.ts';
import { smallRunConfig } from '../../support/small-run.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const config = smallRunConfig();
const matrices = initialMatrices(config, new Uint8Array());
const start = initialReplica(learningRuleOf(config), trainedPart(layoutOf(config), matrices));
const contentAt = (round: number) => ({
  config,
  replica: { ...start, normaliser: { ...start.normaliser, round } },
  matrices,
  nextWorker: 1,
  epoch: 1,
});

describe('a checkpoint', () => {
  it('that does not verify is passed over for the one before', async () => {
    const parent = temporaryDirectory();
    for (const round of [1, 2]) await writeCheckpoint(parent, contentAt(round), 3, false);
    const [older, newer] = [1, 2].map((round) => join(parent, checkpointName(round)));
    assert.equal(await newestCheckpoint(parent), newer);
    appendFileSync(join(newer!, 'adapter_model.safetensors'), 'x');
    assert.match((await checkpointProblem(newer!))!, /adapter_model.safetensors: sha-256/);
    assert.equal(await newestCheckpoint(parent), older);
    assert.equal(await adapterDirectory(parent), older);
    await assert.rejects(adapterDirectory(newer!), /checkpoint .*: damaged \(.*sha-256/);
  });

  it('whose state or manifest holds no object is damaged, and stops nobody', async () => {
    const parent = temporaryDirectory();
    for (const content of ['null', '[]', '{}', '7', '{"adapter_config.json": {}}']) {
      const old = await writeCheckpoint(parent, contentAt(1), 3, false);
      for (const name of ['trainer_state.json', 'manifest.json']) writeFileSync(join(old, name), content);
      assert.match((await checkpointProblem(old)) ?? 'whole', /manifest\.json: ✖ /, content);
      await writeCheckpoint(parent, contentAt(2), 3, false);
    }
  });

  it('stays when it is the newest, beyond round 999,999 too', async () => {
    const parent = temporaryDirectory();
    const old = await writeCheckpoint(parent, contentAt(999_500), 1, false);
    const newest = await writeCheckpoint(parent, contentAt(1_000_000), 1, false);
    assert.deepEqual([await newestCheckpoint(parent), existsSync(old)], [newest, false]);
  });

  it('that was written as the best and is asked for as any other stays when another is the best', async () => {
    const parent = temporaryDirectory();
    await writeCheckpoint(parent, contentAt(10), 3, true);
    await writeCheckpoint(parent, contentAt(10), 3, false);
    await writeCheckpoint(parent, contentAt(20), 3, true);
    assert.deepEqual(readdirSync(parent).sort(), ['best', ...[10, 20].map(checkpointName)]);
  });

  it('that was the best for a while takes no place of those that are kept', async () => {
    const parent = temporaryDirectory();
    for (let round = 10; round <= 200; round += 10) {
      if (round % 50 === 0) await writeCheckpoint(parent, contentAt(round), 3, false);
      await writeCheckpoint(parent, contentAt(round), 3, round <= 190);
    }
    assert.deepEqual(readdirSync(parent).sort(), ['best', ...[100, 150, 190, 200].map(checkpointName)]);
    assert.equal(await adapterDirectory(join(parent, 'best')), join(parent, 'best'));
  });

  for (const file of ['trainer_state.json', 'adapter_model.safetensors'])
    it(`that does not verify is written anew, and is not the best: ${file}`, async () => {
      const parent = temporaryDirectory();
      const directory = await writeCheckpoint(parent, contentAt(1), 3, true);
      assert.deepEqual([await isBest(parent, 1), await isBest(parent, 2)], [true, false]);
      appendFileSync(join(directory, file), 'x');
      assert.equal(await isBest(parent, 1), false);
      await writeCheckpoint(parent, contentAt(1), 3, true);
      assert.deepEqual([await checkpointProblem(directory), await isBest(parent, 1)], [undefined, true]);
    });

  it('says its floats to the last bit', async () => {
    const { replica, ...content } = contentAt(1);
    const normaliser = { ...replica.normaliser, v: 1 / 3, window: [-0, 2 ** -1074] };
    const directory = await writeCheckpoint(
      temporaryDirectory(),
      { ...content, replica: { ...replica, normaliser } },
      3,
      false,
    );
    const { v, window } = JSON.parse(readFileSync(join(directory, 'trainer_state.json'), 'utf8'));
    assert.deepEqual([v, window], ['3fd5555555555555', ['8000000000000000', '0000000000000001']]);
  });

  it('of another run is written anew', async () => {
    const parent = temporaryDirectory();
    await writeCheckpoint(parent, contentAt(1), 3, false);
    const content = contentAt(1);
    const theta = content.replica.theta.map((element) => element + 1);
    const directory = await writeCheckpoint(parent, { ...content, replica: { ...content.replica, theta } }, 3, false);
    assert.equal(await checkpointProblem(directory), undefined);
    assert.deepEqual(readPeftAdapter(directory, config.adapter.modules).matrices, theta);
  });

  it('stays beside those of later rounds that an older round log knows nothing of', async () => {
    const parent = temporaryDirectory();
    for (const round of [7, 8, 9]) await writeCheckpoint(parent, contentAt(round), 3, false);
    const directory = await writeCheckpoint(parent, contentAt(2), 3, false);
    assert.equal(await checkpointProblem(directory), undefined);
  });

  it('is the best also where a copy of the run directory has made a directory of the link', async () => {
    const parent = temporaryDirectory();
    const best = join(parent, 'best');
    const first = await writeCheckpoint(parent, contentAt(1), 3, false);
    cpSync(first, best, { recursive: true });
    await writeCheckpoint(parent, contentAt(2), 3, true);
    assert.equal(readlinkSync(best), checkpointName(2));
    rmSync(best);
    cpSync(first, best, { recursive: true });
    await forgetBest(parent);
    assert(!existsSync(best));
  });

  it('takes away what a killed process left half written', async () => {
    const parent = temporaryDirectory();
    for (const left of [`.${checkpointName(1)}.999999999.partial`, '.best.999999999.partial'])
      mkdirSync(join(parent, left));
    await writeCheckpoint(parent, contentAt(2), 3, true);
    assert.deepEqual(readdirSync(parent).sort(), ['best', checkpointName(2)]);
  });
});
