/** What a run file leaves open is settled before the run begins. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { writePeftAdapter } from '../../formats/peft-adapter.ts';
import { prepareRun } from '../../processes/prepare-run.ts';
import { adapterElements } from '../../proto/adapter.ts';
import { readRunFile, settled } from '../../settings/run-file.ts';
import { runFile } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

/** 49,152 adapter elements. */
const configOf = async (...settings: string[]) =>
  (await prepareRun(settled(readRunFile(runFile, settings), undefined))).config;
const learningOf = async (...settings: string[]) => (await configOf(...settings)).learning;

describe('a run config', () => {
  it('describes an adapter that is continued as it is, and is refused where the run file describes another', async () => {
    const from = temporaryDirectory();
    const own = ['adapter.rank=2', 'adapter.alpha=6', 'adapter.targets=[q_proj,v_proj]', 'adapter.rslora=true'];
    const { adapter } = await configOf(...own);
    writePeftAdapter(from, adapter, new Float32Array(adapterElements(adapter.modules)));
    const continued = (...settings: string[]) => configOf(`adapter.from=${from}`, ...settings);
    for (const settings of [[], own, ['adapter.targets=.*[qv]_proj']])
      assert.deepEqual((await continued(...settings)).adapter, adapter);
    await assert.rejects(continued('adapter.rank=8'), /adapter\.rank 8: .* has 2; leave adapter\.rank out/);
    await assert.rejects(continued('adapter.alpha=16'), /adapter\.alpha 16: .* has 6; leave adapter\.alpha out/);
    await assert.rejects(
      continued('adapter.rslora=false'),
      /adapter\.rslora false: .* has true; leave adapter\.rslora out/,
    );
    for (const targets of ['all-linear', '[q_proj]'])
      await assert.rejects(
        continued(`adapter.targets=${targets}`),
        /adapter\.targets .*: .* has other layers; leave adapter\.targets out/,
      );
  });

  it('holds the stripes that the run file names', async () => {
    assert.equal((await learningOf('learning.directionStripes=16', 'learning.directions=1')).directionStripes, 16);
  });

  it('holds stripes by adapter elements and gradients of a round where the run file names none', async () => {
    assert.equal((await learningOf()).directionStripes, 1);
    // 8,192 gradients of 49,152 elements are 1.5 times the 2²⁸ sign-additions that are cheap.
    assert.equal((await learningOf('workers=64', 'learning.directions=128')).directionStripes, 4);
  });
});
