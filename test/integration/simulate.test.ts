/** The main job, as a user runs it: real processes, real sockets, the real example model. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { settingFlags } from '../../cli/command.ts';
import { openSafetensors } from '../../formats/safetensors.ts';
import type { Record } from '../../proto/gen/onebyte.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { metricsFile, readMetrics } from '../../trainer/metrics/metrics-file.ts';
import { readRoundLog, recordsOf } from '../../trainer/store/round-log.ts';
import { firstRows } from '../support/first-rows.ts';
import {
  bin,
  commandLine,
  goldenFiles,
  lastJson,
  processIds,
  runFile,
  runOnebyte,
  startOnebyte,
  tinyReviews,
} from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const out = (name: string): string => join(directory, name);
const fewDevRows = ['--set', `data.dev=${firstRows('dev', 8)}`];

const simulate = async (name: string, ...flags: string[]) => {
  const finished = await runOnebyte('simulate', runFile, '--json', '--out', out(name), ...flags);
  assert.equal(finished.code, 0, finished.stderr);
  return lastJson(finished);
};

const recordsIn = async (log: string): Promise<Record[]> => recordsOf((await readRoundLog(log)).frames);

describe('onebyte simulate', () => {
  it('learns tiny-reviews with four workers, and all replicas and the replayed log hold the same adapter', async () => {
    const result = await simulate('demo', ...settingFlags(['trainer.evaluateEvery=50', 'trainer.quorum=all']));
    assert.equal(result.accuracyBefore, 0.5);
    assert(result.accuracyAfter >= 0.97, `accuracy ${result.accuracyAfter}`);
    assert(result.lossAfter < result.lossBefore);
    assert.equal(result.rounds, 200);
    assert.equal(result.lossPerTokenAfter, result.lossAfter, 'each option is one token');
    assert.equal(result.replicaDigests.length, 5);
    for (const digest of result.replicaDigests) assert.equal(digest, result.replicaDigest);
    const replayed = lastJson(
      await runOnebyte('replay', '--log', result.roundLog, '--round', '200', '--out', out('replayed'), '--json'),
    );
    assert.deepEqual(
      { round: replayed.round, adapterDigest: replayed.adapterDigest },
      { round: 200, adapterDigest: result.adapterDigest },
    );
    const weights = (adapter: string): Buffer => readFileSync(join(adapter, 'adapter_model.safetensors'));
    assert.deepEqual(weights(out('replayed')), weights(result.checkpointDir));
  });

  it('tells the training loss of most rounds, and the dev loss of a row and of a token', () => {
    const lines = Array.from(readMetrics(metricsFile(out('demo'))), ({ line }) => line);
    const told = lines.flatMap((line) => (line.kind === 'round' && line.trainingLoss ? [line.trainingLoss] : []));
    assert(told.length > 150, `${told.length} rounds of 200`);
    const [first, last] = [told[0]!.perRow, told.at(-1)!.perRow];
    assert(last < first, `${first} at first, ${last} at last`);
    const [evaluated] = lines.flatMap((line) => (line.kind === 'evaluation' ? [line] : []));
    assert.equal(evaluated?.lossPerToken, evaluated?.loss);
  });

  it('ends with how to see the run again, and with an accuracy where rows have options alone', async () => {
    const file = out('plain.jsonl');
    writeFileSync(file, '{"text": "a haunting , assured remake ."}\n');
    const plain = settingFlags([`data.train=${file}`, `data.dev=${file}`, `data.test=${file}`]);
    const flags = ['--workers', '1', '--rounds', '1', ...plain];
    const { code, stdout, stderr } = await runOnebyte('simulate', runFile, '--out', out('plain'), ...flags);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^test loss +\d/);
    assert.match(stdout, new RegExp(`^page +onebyte view ${out('plain')}$`, 'm'));
    assert.doesNotMatch(stdout, /accuracy/);
  });

  it('says nothing of a test split that there is not', async () => {
    const runFile = out('untested.yaml');
    const [model, data] = [join(tinyReviews, 'model'), join(tinyReviews, 'dev.jsonl')];
    writeFileSync(
      runFile,
      `model: ${model}\ndata: { train: ${data}, dev: ${data} }\nlearning: { learningRate: 1.0e+30 }\n`,
    );
    const flags = ['--workers', '1', '--rounds', '2'];
    const { code, stdout, stderr } = await runOnebyte('simulate', runFile, '--out', out('untested'), ...flags);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^best on dev +.*round-000000$/m);
    assert.doesNotMatch(stdout, /\btest\b|not finite/);
  });

  it('writes checkpoints with the files, keys and shapes of a PEFT directory', async () => {
    const checkpoint = out('demo/checkpoints/best');
    const peft = join(goldenFiles, 'models/llama/adapter');
    const config = (adapter: string) => JSON.parse(readFileSync(join(adapter, 'adapter_config.json'), 'utf8'));
    const own = config(checkpoint);
    for (const [key, value] of Object.entries(config(peft)))
      if (key in own) assert.equal(typeof own[key], typeof value, `${key} of adapter_config.json`);
    assert.equal(own.peft_type, 'LORA');
    const { tensors } = openSafetensors(join(checkpoint, 'adapter_model.safetensors'));
    assert.equal(tensors.size, 3 * 7 * 2);
    const a = tensors.get('base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight');
    assert.deepEqual([a?.dtype, a?.shape], ['F32', [8, 128]]);
    assert(existsSync(join(checkpoint, 'trainer_state.json')));
  });

  for (const train of ['both', 'B'])
    it(`continues an adapter, train: ${train}: it begins where the other ended, and replicas and log agree`, async () => {
      const from = out('demo/checkpoints/round-000200');
      const adapter = settingFlags([`adapter.from=${from}`, `adapter.train=${train}`]);
      const flags = ['--workers', '2', '--rounds', '3', ...adapter, ...fewDevRows];
      const result = await simulate(`continued-${train}`, ...flags);
      assert(result.accuracyBefore >= 0.97, `accuracy ${result.accuracyBefore}`);
      assert.deepEqual(result.replicaDigests, new Array(3).fill(result.replicaDigest));
      const replayed = lastJson(await runOnebyte('replay', '--log', result.roundLog, '--round', '3', '--json'));
      assert.equal(replayed.adapterDigest, result.adapterDigest);
      const matrices = (checkpoint: string, matrix: 'A' | 'B'): Buffer[] => {
        const { file, tensors } = openSafetensors(join(checkpoint, 'adapter_model.safetensors'));
        const wanted = [...tensors].filter(([name]) => name.includes(`lora_${matrix}`)).sort();
        const bytes = readFileSync(file);
        return wanted.map(([, { offset, bytes: length }]) => bytes.subarray(offset, offset + length));
      };
      assert.notDeepEqual(matrices(result.checkpointDir, 'B'), matrices(from, 'B'));
      if (train === 'B') assert.deepEqual(matrices(result.checkpointDir, 'A'), matrices(from, 'A'));
      else assert.notDeepEqual(matrices(result.checkpointDir, 'A'), matrices(from, 'A'));
    });

  it('gives the same bytes twice with quorum: all', async () => {
    const all = [...settingFlags(['trainer.quorum=all', 'data.test=']), ...fewDevRows];
    const flags = ['--workers', '3', '--rounds', '8', ...all];
    const first = await simulate('twice-a', ...flags);
    const second = await simulate('twice-b', ...flags);
    assert.deepEqual(await recordsIn(first.roundLog), await recordsIn(second.roundLog));
    assert.equal(first.adapterDigest, second.adapterDigest);
    assert.equal(first.gradients, 8 * 8 * 3);
  });

  it('lets the rate of a new run fall as --decay-rounds says', async () => {
    const settings = settingFlags(['data.test=', 'data.dev=']);
    const { roundLog } = await simulate('decay', '--workers', '1', '--rounds', '2', '--decay-rounds', '7', ...settings);
    const { learning } = JSON.parse((await readRoundLog(roundLog)).header.runConfig);
    assert.deepEqual([learning.decayRounds, learning.decayChanges], [7, undefined]);
  });

  it('extends a finished run with --resume, also by the run file in its directory, and refuses its directory without it', async () => {
    const flags = ['--workers', '2', '--set', 'data.test=', ...fewDevRows];
    const first = await simulate('extended', ...flags, '--rounds', '4');
    const resumed = await simulate('extended', ...flags, '--rounds', '6', '--resume');
    assert.equal(resumed.rounds, 6);
    assert.equal(resumed.roundLog, first.roundLog);
    const again = await runOnebyte('simulate', runFile, '--out', out('extended'), ...flags, '--rounds', '6');
    assert.equal(again.code, 2, again.stderr);
    assert.match(again.stderr, /--out .*extended: exists already; give --resume to go on/);
    assert(!existsSync(out('extended-2')));
    const own = ['simulate', out('extended/run.yaml'), '--resume', '--rounds', '8', '--json', '--decay-rounds', '12'];
    const finished = await startOnebyte(own, {}, undefined, directory).finished;
    assert.equal(finished.code, 0, finished.stderr);
    // It fell to a sixteenth over the first 4 rounds; now it stands where a run of 12 would be.
    assert.match(
      finished.stderr,
      /goes on after 6 rounds at learning rate 0\.00100, 0\.500 of the first \(--decay-rounds, counted from round 0, /,
    );
    const last = lastJson(finished);
    assert.equal(last.roundLog, first.roundLog);
    // Two rounds may be over before the other worker is back.
    assert.deepEqual(new Set(last.replicaDigests), new Set([last.replicaDigest]));
    assert(last.replicaDigests.length >= 2, 'the trainer, and who did the rounds');
    for (const [round, { adapterDigest }] of [
      ['4', first],
      ['6', resumed],
      ['8', last],
    ] as const)
      assert.equal(
        lastJson(await runOnebyte('replay', '--log', first.roundLog, '--round', round, '--json')).adapterDigest,
        adapterDigest,
        `round ${round}`,
      );
    const { stdout } = await startOnebyte(
      ['simulate', out('extended/run.yaml'), '--resume', '--rounds', '9'],
      {},
      undefined,
      directory,
    ).finished;
    assert.match(stdout, /\d+ applied in all, \d+ sent since this start\n/);
  });

  it('names and tests the checkpoint that was best on the dev split, where it is not the last', async () => {
    const dev = `data.dev=${firstRows('dev', 50)}`;
    const high = ['learning.learningRate=0.02', 'learning.decayRounds=0', 'trainer.evaluateEvery=2', dev];
    const flags = settingFlags(high);
    const test = ['--set', `data.test=${firstRows('test', 100)}`];
    const result = await simulate('too-fast', '--workers', '1', '--rounds', '24', ...flags, ...test);
    const best = result.best?.checkpoint ?? result.checkpointDir;
    assert.equal(best, realpathSync(out('too-fast/checkpoints/best')));
    if (result.best) assert(Number.isFinite(result.best.loss) && result.best.loss !== result.lossAfter);
    assert(result.best, 'a rate ten times too high ends worse than it was');
  });

  it('takes a new directory where the one that its run file names is in use, and says so', async () => {
    const named = out('named');
    const settings = settingFlags(['data.test=', 'data.dev=', `out=${named}`]);
    const flags = ['--workers', '1', '--rounds', '1', '--json', ...settings];
    const roundLogs: string[] = [];
    for (const expected of [/trainer: 127\.0\.0\.1:\d+/, /named exists: this run goes to .*named-2/]) {
      const finished = await runOnebyte('simulate', runFile, ...flags);
      assert.match(finished.stderr, expected);
      roundLogs.push(lastJson(finished).roundLog);
    }
    assert.deepEqual(roundLogs, [join(named, 'round.log'), join(`${named}-2`, 'round.log')]);
  });

  const endless = ['simulate', runFile, '--rounds', '100000', '--set', 'data.test=', ...fewDevRows];

  it('that is stopped before the test split of a finished run is evaluated says what the trainer did, exit code 75', async () => {
    const flags = ['--workers', '1', '--rounds', '1', '--json', '--out', out('stopped'), ...fewDevRows];
    const running = startOnebyte(['simulate', runFile, ...flags]);
    await running.line(/round 1\/1/);
    running.process.kill('SIGTERM');
    const finished = await running.finished;
    assert.equal(finished.code, 75, finished.stderr);
    const { rounds, exitCode } = lastJson(finished);
    assert.deepEqual([rounds, exitCode], [1, 75]);
  });

  it('ends all its processes when it is interrupted', async () => {
    const running = startOnebyte([...endless, '--out', out('interrupted')]);
    await running.line(/round \d+\/100000/);
    assert.equal(processesOf(out('interrupted')).length, 6, 'parent, trainer and four workers');
    running.process.kill('SIGINT');
    const { code, stderr } = await running.finished;
    assert.equal(code, 130, stderr);
    assert.deepEqual(processesOf(out('interrupted')), []);
    const log = await readRoundLog(out('interrupted/round.log'));
    assert(log.tornBytes === 0 && log.frames.length > 0);
  });

  it('leaves no process behind when it is killed', async () => {
    const running = startOnebyte([...endless, '--out', out('killed')]);
    await running.line(/round \d+\/100000/);
    const children = processesOf(out('killed')).filter((pid) => pid !== running.process.pid);
    assert.equal(children.length, 5);
    running.process.kill('SIGKILL');
    await running.finished;
    for (const pid of children) await ended(pid);
  });

  for (const command of ['trainer', 'worker', 'eval'])
    it(`leaves no ${command} behind when it is killed while that one is loaded`, async () => {
      const child = fork(bin, [command, '--no-such-option'], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
      child.disconnect();
      assert.deepEqual(await once(child, 'exit'), [EXIT.interrupted, null]);
    });
});

/** Process ids whose command line names `path`. */
const processesOf = (path: string): number[] => processIds().filter((pid) => commandLine(pid).includes(path));

/** Resolves when process `pid`, which is no child of ours, is gone. */
async function ended(pid: number): Promise<void> {
  while (commandLine(pid) !== '') await new Promise((resolve) => setTimeout(resolve, 20));
}
