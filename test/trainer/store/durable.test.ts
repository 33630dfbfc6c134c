/** What of a run is durable, and when: as long as it is not, nobody has heard of it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { checkpointName, writeCheckpoint } from '../../../trainer/store/checkpoint.ts';
import { close, openSmallRun } from '../../support/open-small-run.ts';
import { smallRunConfig } from '../../support/small-run.ts';
import { syncedPaths } from '../../support/synced-paths.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

it('a round log, each of its records, and the directories that were made for it', async (test) => {
  const parent = temporaryDirectory();
  const directory = join(parent, 'runs/first');
  const synced = await syncedPaths(test, parent);
  const run = await openSmallRun(directory);
  assert.deepEqual(synced.splice(0), ['', 'runs', 'runs/first/round.log.new', 'runs/first']);
  await run.log.append([{ frame: { $case: 'left', value: { worker: 0, reason: '' } } }]);
  assert.deepEqual(synced.splice(0), ['runs/first/round.log']);
  await close(run);
  await close(await openSmallRun(directory));
  assert.deepEqual(synced, ['runs/first/round.log'], 'what was cut off stays away');
});

it('a checkpoint, its name, and that it is the best', async (test) => {
  const run = await openSmallRun(temporaryDirectory());
  await close(run);
  const parent = temporaryDirectory();
  const synced = await syncedPaths(test, parent);
  const content = { ...run, config: smallRunConfig() };
  await writeCheckpoint(join(parent, 'checkpoints'), content, 1, true);
  const files = ['adapter_model.safetensors', 'adapter_config.json', 'trainer_state.json', 'manifest.json', ''];
  const written = files.map((file) => join('checkpoints', checkpointName(0), file).replace(/\/$/, ''));
  // The directory of all, the one that is filled, and, behind it, its name and the link's.
  assert.deepEqual(synced, ['', 'checkpoints', ...written, 'checkpoints', 'checkpoints']);
});
