/** What a run file leaves open is settled before the run begins. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { prepareRun } from '../../processes/prepare-run.ts';
import { readRunFile, settled } from '../../settings/run-file.ts';
import { root } from '../support/onebyte.ts';

/** 49,152 adapter elements. */
const FILE = join(root, 'examples/tiny-reviews/run.yaml');
const learningOf = async (...settings: string[]) =>
  (await prepareRun(settled(readRunFile(FILE, settings), undefined))).config.learning;

describe('a run config', () => {
  it('holds the stripes that the run file names', async () => {
    assert.equal((await learningOf('learning.directionStripes=16', 'learning.directions=1')).directionStripes, 16);
  });

  it('holds stripes by adapter elements and gradients of a round where the run file names none', async () => {
    assert.equal((await learningOf()).directionStripes, 1);
    // 8,192 gradients of 49,152 elements are 1.5 times the 2²⁸ sign-additions that are cheap.
    assert.equal((await learningOf('workers=64', 'learning.directions=128')).directionStripes, 4);
  });
});
