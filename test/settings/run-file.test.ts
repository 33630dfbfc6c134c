/** Run files: what their paths and a command's options mean. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { readRunFile } from '../../settings/run-file.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

it('takes a model of two names from beside the run file, where there is one, and else from the Hub', (test) => {
  const directory = temporaryDirectory(test);
  const file = join(directory, 'run.yaml');
  writeFileSync(file, 'model: org/name\ndata: { train: train.jsonl }\n');
  assert.equal(readRunFile(file).model, 'org/name');
  mkdirSync(join(directory, 'org/name'), { recursive: true });
  const { model, data } = readRunFile(file);
  assert.deepEqual([model, data.train], [join(directory, 'org/name'), join(directory, 'train.jsonl')]);
});

it('takes options of the command before its keys', (test) => {
  const file = join(temporaryDirectory(test), 'run.yaml');
  writeFileSync(file, 'model: org/name\nrounds: 5\nworkers: 3\ndata: { train: train.jsonl }\n');
  const { rounds, workers, seed } = readRunFile(file, ['rounds=6', 'seed=8'], { rounds: 7, workers: undefined });
  assert.deepEqual([rounds, workers, seed], [7, 3, 8]);
});
