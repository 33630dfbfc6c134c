/** The process that evaluates the test split: one for all adapters, in place of which another is started, and whose failure is told. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, it } from 'node:test';
import { TestEvaluator } from '../../cli/test-evaluator.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { bin, childrenOf, commandLine, goldenFiles } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

// Children are started as this command.
process.argv[1] = bin;

const directory = temporaryDirectory();
const model = join(goldenFiles, 'models/llama');
const adapter = join(model, 'adapter');
const { examples, variants } = JSON.parse(readFileSync(join(model, 'expected.json'), 'utf8'));
const rows: { prompt: string; completion: string }[] = examples;
const data = join(directory, 'rows.jsonl');
writeFileSync(data, rows.map(({ prompt, completion }) => `${JSON.stringify({ prompt, completion })}\n`).join(''));
const runFile = join(directory, 'run.yaml');
writeFileSync(
  runFile,
  JSON.stringify({ model, adapter: { from: adapter }, data: { train: data, test: data }, worker: { provider: 'cpu' } }),
);
const log = join(directory, 'eval.log');
const said: string[] = [];
const evaluator = new TestEvaluator(runFile, log, (text) => said.push(text));
after(() => evaluator.stop());

const near = (loss: number | undefined, variant: string): void => {
  const nll: number[] = variants[variant].nll;
  const mean = nll.reduce((sum, value) => sum + value) / nll.length;
  assert(loss !== undefined && Math.abs(loss - mean) < 1e-3, `${variant}: ${loss}, expected ${mean}`);
};

it('gives the losses of the model and of an adapter, one after another or both at once', async () => {
  near((await evaluator.evaluate(undefined)).loss, 'base');
  const [one, other] = await Promise.all([evaluator.evaluate(adapter), evaluator.evaluate(undefined)]);
  near(one.loss, 'adapter');
  near(other.loss, 'base');
  assert.deepEqual(said, []);
});

it('is started again where it was killed, in the middle of an evaluation or between two', async () => {
  const send = (signal: NodeJS.Signals): void => {
    const [pid] = childrenOf(process.pid).filter((child) => commandLine(child).includes('--serve'));
    assert(pid !== undefined && process.kill(pid, signal));
  };
  // Stopped it answers nothing before it is killed.
  send('SIGSTOP');
  const waiting = evaluator.evaluate(adapter);
  send('SIGKILL');
  near((await waiting).loss, 'adapter');
  assert.deepEqual(said.splice(0), ['evaluation of the test split was killed by SIGKILL; starting it again']);
  send('SIGKILL');
  near((await evaluator.evaluate(undefined)).loss, 'base');
});

it('says what is wrong with an adapter, and evaluates the next one', async () => {
  const damaged = join(directory, 'damaged');
  cpSync(adapter, damaged, { recursive: true });
  writeFileSync(join(damaged, 'manifest.json'), JSON.stringify({ 'adapter_config.json': '0'.repeat(64) }));
  await assert.rejects(evaluator.evaluate(damaged), { exitCode: EXIT.usage, message: /damaged: damaged \(/ });
  near((await evaluator.evaluate(adapter)).loss, 'adapter');
});

it('whose log cannot be written tells so, and ends', { skip: !existsSync('/dev/full') }, async () => {
  const silenced = new TestEvaluator(runFile, '/dev/full', () => {});
  await assert.rejects(silenced.evaluate(join(directory, 'missing')), { code: 'ENOSPC' });
});
