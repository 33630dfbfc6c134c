/** Run files: what their paths and a command's options mean. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { it } from 'node:test';
import { readRunFile, settled, trainFiles, workerSettings } from '../../settings/run-file.ts';
import { smallRunConfig } from '../support/small-run.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

it('takes a model of two names from beside the run file, where there is one, and else from the Hub', () => {
  const directory = temporaryDirectory();
  const file = join(directory, 'run.yaml');
  writeFileSync(file, 'model: org/name\ndata: { train: train.jsonl }\n');
  assert.equal(readRunFile(file).model, 'org/name');
  mkdirSync(join(directory, 'org/name'), { recursive: true });
  const { model, data } = readRunFile(file);
  assert.deepEqual([model, data.train], [join(directory, 'org/name'), join(directory, 'train.jsonl')]);
});

it('takes one file of training rows or a list of them, from the file or --set, relative to it', () => {
  const directory = temporaryDirectory();
  const file = join(directory, 'run.yaml');
  writeFileSync(file, 'model: org/name\ndata: { train: [a.jsonl, b/c.tsv] }\n');
  const both = [join(directory, 'a.jsonl'), join(directory, 'b/c.tsv')];
  assert.deepEqual(trainFiles(readRunFile(file), file), both);
  assert.deepEqual(trainFiles(readRunFile(file, ['data.train=d.jsonl']), file), [join(directory, 'd.jsonl')]);
  assert.deepEqual(trainFiles(readRunFile(file, ['data.train=[b/c.tsv, a.jsonl]']), file), both.toReversed());
  assert.throws(() => readRunFile(file, ['data.train=[]']), /run\.yaml: .*data\.train/s);
});

it('names of a wrong key the nearest one and those that there are', () => {
  const file = join(temporaryDirectory(), 'run.yaml');
  const problem = (text: string): string => {
    writeFileSync(file, `model: org/name\n${text}\n`);
    try {
      readRunFile(file);
    } catch (error) {
      return (error as Error).message;
    }
    return '';
  };
  const message = problem('learning: { learning_rate: 1, estimatr: spsa, foo: 1 }');
  assert.match(message, /unknown key learning_rate in learning: did you mean learningRate\?/);
  assert.match(message, /unknown key estimatr in learning: did you mean estimator\?/);
  assert.match(message, /unknown key foo in learning\n/);
  assert.match(message, /keys in learning: learningRate, decayRounds, epsilon, /);
  assert.match(
    problem('round: 5'),
    /unknown key round at the top: did you mean rounds\?\n {2}keys at the top: model, seed/,
  );
  assert.match(problem('trainer: { stopAt: { acc: 1 } }'), /keys in trainer\.stopAt: loss, accuracy/);
  assert.match(problem('rounds: many'), /expected number, received string, got "many"/);
  assert.match(problem('worker: 2'), /expected object, received number, got 2; did you mean workers\?\n.*at worker$/);
  assert.match(problem('lr: 1'), /unknown key lr at the top: did you mean learning\.learningRate\?/);
  assert.match(
    problem('learningRate: 1'),
    /unknown key learningRate at the top: did you mean learning\.learningRate\?/,
  );
  const peft = problem('adapter: { r: 4, lora_alpha: 8, target_modules: all-linear }');
  for (const [theirs, ours] of [
    ['r', 'rank'],
    ['lora_alpha', 'alpha'],
    ['target_modules', 'targets'],
  ])
    assert.match(peft, new RegExp(`unknown key ${theirs} in adapter: did you mean ${ours}\\?`));
  assert.match(problem('worker: { provider: gpu }'), /expected one of "auto"\|.*, got "gpu"\n.*at worker\.provider/);
  assert.match(problem('trainer: { quorum: most }'), /expected "all" or expected number, .*got "most"/);
  assert.match(problem('worker: { privacy: { epsilon: 4 } }'), /worker\.privacy\.clip is missing: expected number$/);
});

it('says of a text that begins with a brace that it is to be quoted', () => {
  const file = join(temporaryDirectory(), 'run.yaml');
  const quoted = /A text that begins with \{ is quoted: "\{sentence\} It was"/;
  writeFileSync(file, 'model: org/name\n');
  assert.throws(
    () => readRunFile(file, ['data.template={sentence} It was']),
    /^OperatingError: --set data\.template.*not YAML/,
  );
  assert.throws(() => readRunFile(file, ['data.template={sentence} It was']), quoted);
  assert.equal(readRunFile(file, ['data.template="{sentence} It was"']).data.template, '{sentence} It was');
  writeFileSync(file, 'model: org/name\ndata:\n  template: {sentence} It was\n  maxLength: 64\n');
  assert.throws(() => readRunFile(file), quoted);
});

it('takes options of the command before its keys', () => {
  const file = join(temporaryDirectory(), 'run.yaml');
  writeFileSync(file, 'model: org/name\nrounds: 5\nworkers: 3\ndata: { train: train.jsonl }\n');
  const { rounds, workers, seed } = readRunFile(file, ['rounds=6', 'seed=8'], { rounds: 7, workers: undefined });
  assert.deepEqual([rounds, workers, seed], [7, 3, 8]);
});

it('takes an empty value for a key that is left out', () => {
  const file = join(temporaryDirectory(), 'run.yaml');
  writeFileSync(file, 'model: org/name\nrounds: 5\ndata: { dev: dev.jsonl }\n');
  const { rounds, data } = readRunFile(file, ['rounds=', 'data.dev=']);
  assert.deepEqual([rounds, data.dev], [100, undefined]);
});

it('finds a ledger beside the run file', () => {
  const directory = temporaryDirectory();
  const file = join(directory, 'run.yaml');
  writeFileSync(file, 'model: org/name\nworker: { privacy: { epsilon: 4, clip: 2, ledger: spent } }\n');
  assert.equal(readRunFile(file).worker.privacy?.ledger, join(directory, 'spent'));
});

it('settles what is left open as the run began, and else by its other keys', () => {
  const file = join(temporaryDirectory(), 'run.yaml');
  writeFileSync(file, 'model: org/name\nrounds: 7\nworkers: 3\n');
  const { learning, data, ...rest } = smallRunConfig();
  const started = {
    ...rest,
    learning: { ...learning, decayRounds: 50, directionStripes: 4 as const },
    data: { ...data, shards: 9 },
  };
  const open = (run = readRunFile(file), before?: typeof started): unknown[] => {
    const { learning, data } = settled(run, before);
    return [learning.decayRounds, learning.directionStripes, data.shards];
  };
  assert.deepEqual(open(), [7, undefined, 3]);
  assert.deepEqual(open(readRunFile(file), started), [50, 4, 9]);
  const stated = readRunFile(file, ['learning.decayRounds=0', 'learning.directionStripes=16', 'data.shards=2']);
  assert.deepEqual(open(stated, started), [0, 16, 2]);
});

it('takes the keys of a worker alone where there is no run file', () => {
  const { kernels, privacy, estimator } = workerSettings([
    'worker.kernels=reference',
    'worker.privacy={ epsilon: 4, clip: 2, ledger: spent }',
  ]);
  assert.deepEqual(
    [kernels, privacy, estimator],
    ['reference', { epsilon: 4, delta: 1e-5, clip: 2, answerMs: 1000, ledger: resolve('spent') }, undefined],
  );
  assert.throws(() => workerSettings(['learning.rows=4']), /--set without a run file: .*unknown key learning/s);
  assert.throws(() => workerSettings(['worker.privacy.epsilon=4']), /worker\.privacy\.clip/);
});

it('refuses a file of another encoding than UTF-8, whose texts would be others', () => {
  const file = join(temporaryDirectory(), 'run.yaml');
  const text = 'model: org/name\ndata: { template: "caf\u00e9 {a}" }\n';
  for (const encoding of ['latin1', 'utf16le'] as const) {
    writeFileSync(file, Buffer.from(`\ufeff${text}`, encoding));
    assert.throws(() => readRunFile(file), /^OperatingError: run file .*run\.yaml: not valid UTF-8$/);
  }
  writeFileSync(file, `\ufeff${text}`);
  assert.equal(readRunFile(file).data.template, 'caf\u00e9 {a}');
});
