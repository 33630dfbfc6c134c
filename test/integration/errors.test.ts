/** Bad input: every command says what, where, got, expected and what to do, and exits with the documented code. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { platform } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { settingFlags } from '../../cli/command.ts';
import { deferred } from '../../platform/deferred.ts';
import { firstRows } from '../support/first-rows.ts';
import {
  addressOf,
  bin,
  goldenFiles,
  root,
  runFile,
  runOnebyte,
  startOnebyte,
  tinyReviews,
} from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const fewDevRows = ['--set', `data.dev=${firstRows('dev', 8)}`];
const trainer = (...flags: string[]) => runOnebyte('trainer', runFile, '--out', join(directory, 'never'), ...flags);

/** A copy of the example model with `change` applied to it. */
function changedModel(name: string, change: (model: string) => void): string {
  const model = join(directory, name);
  cpSync(join(tinyReviews, 'model'), model, { recursive: true });
  change(model);
  return model;
}

const edited = (file: string, edit: (config: { [key: string]: unknown }) => void): void => {
  const config = JSON.parse(readFileSync(file, 'utf8'));
  edit(config);
  writeFileSync(file, JSON.stringify(config));
};

describe('a model', () => {
  const cases: [string, (model: string) => void, RegExp][] = [
    ['without weights', (model) => rmSync(join(model, 'model.safetensors')), /model\.safetensors/],
    ['with truncated weights', (model) => truncateSync(join(model, 'model.safetensors'), 5000), /model\.safetensors/],
    ['without a tokenizer', (model) => rmSync(join(model, 'tokenizer.json')), /tokenizer\.json/],
    ['with a config that is not JSON', (model) => writeFileSync(join(model, 'config.json'), '{'), /config\.json/],
    [
      'of an unsupported architecture',
      (model) => edited(join(model, 'config.json'), (config) => Object.assign(config, { model_type: 'mamba' })),
      /mamba.*llama/s,
    ],
  ];
  for (const [name, change, expected] of cases)
    it(`${name} is refused by name, exit code 2`, async () => {
      const { code, stderr } = await trainer('--set', `model=${changedModel(name.replaceAll(' ', '-'), change)}`);
      assert.equal(code, 2, stderr);
      assert.match(stderr, expected);
      assert.doesNotMatch(stderr, /\n {4}at /, 'no stack');
    });
  it('that does not exist is refused, exit code 2', async () => {
    const { code, stderr } = await trainer('--set', 'model=./nowhere');
    assert.equal(code, 2);
    assert.match(stderr, /nowhere/);
  });
});

describe('a run file', () => {
  const cases: [string, string[], RegExp][] = [
    ['an unknown key', ['--set', 'learning.learning_rate=1'], /learning_rate/],
    ['a value out of range', ['--set', 'learning.directions=3000'], /learning\.directions/],
    ['stripes that do not fit', ['--set', 'learning.directionStripes=5'], /directionStripes/],
    ['tangents that nothing needs', ['--set', 'worker.tangentPrecision=int8'], /tangentPrecision int8.*is spsa/],
    [
      'patience with evaluations that there are none of',
      settingFlags(['data.dev=', 'trainer.patience=2']),
      /trainer\.patience: without a dev split nothing is evaluated; give data\.dev, or trainer\.devRows/,
    ],
    [
      'a dev loss to stop at and no dev split',
      settingFlags(['data.dev=', 'trainer.stopAt={loss: 1}']),
      /trainer\.stopAt: without a dev split/,
    ],
    ['no rounds', ['--rounds', '0'], /at rounds/],
    ['more rounds than are counted', ['--rounds', `${2 ** 32}`], /at rounds/],
    ['an output directory that is a file', ['--out', runFile], /run\.yaml: is no directory; .*name another/],
    ['an output directory in a file', ['--out', join(runFile, 'sub')], /run\.yaml: is no directory; .*name another/],
    ['an output directory without a name', ['--out', ''], /--out: an empty name/],
    ['an address that is none', ['--listen', 'nonsense'], /nonsense.*host:port/],
    ['plain text beyond loopback', ['--listen', '0.0.0.0:0'], /--insecure/],
  ];
  for (const [name, flags, expected] of cases)
    it(`with ${name} is refused, exit code 2`, async () => {
      const { code, stderr } = await trainer(...flags);
      assert.equal(code, 2, stderr);
      assert.match(stderr, expected);
    });
  it('that does not exist is refused, exit code 2', async () => {
    const { code, stderr } = await runOnebyte('simulate', join(directory, 'no.yaml'));
    assert.equal(code, 2);
    assert.match(stderr, /no\.yaml: cannot be read \(ENOENT\)/);
  });
});

describe('data', () => {
  const cases: [string, string, RegExp][] = [
    ['empty', '', /no rows/],
    ['malformed', '{"prompt": "a", "completion": " b"}\n{"prompt": "a"}\n', /:2: /],
    ['chat', '{"messages": []}\n', /messages/],
  ];
  for (const [name, content, expected] of cases)
    it(`that is ${name} is refused by line, exit code 2`, async () => {
      const file = join(directory, `${name}.jsonl`);
      writeFileSync(file, content);
      const { code, stderr } = await runOnebyte('eval', '--model', join(tinyReviews, 'model'), '--data', file);
      assert.equal(code, 2, stderr);
      assert.match(stderr, expected);
    });
});

describe('onebyte eval', () => {
  it('shows of every row its line, and whether its prompt was cut', async () => {
    const file = join(directory, 'long.jsonl');
    const row = (words: number): string =>
      `${JSON.stringify({ prompt: 'good '.repeat(words), completion: ' film' })}\n`;
    writeFileSync(file, `${row(3)}\n${row(300)}`);
    const finished = await runOnebyte(
      ...['eval', '--model', join(tinyReviews, 'model'), '--data', file, '--per-example'],
    );
    assert.equal(finished.code, 0, finished.stderr);
    assert.match(
      finished.stdout,
      /^line 1: nll [\d.]+ over \d+ tokens\nline 3: .* tokens {2}truncated\n2 rows: .*, 1 truncated\n$/,
    );
  });
});

describe('onebyte simulate', () => {
  it('names rows that cannot be read before it begins anything, exit code 2', async () => {
    const out = join(directory, 'no-data');
    const broken = join(directory, 'broken.jsonl');
    writeFileSync(broken, '{"prompt": "a", "completion": " b"}\n{"prompt": "a"}\n');
    for (const [rows, expected] of [
      ['nothere.jsonl', /nothere\.jsonl: cannot be read/],
      [broken, /broken\.jsonl:2: completion/],
    ] as const)
      for (const split of ['train', 'dev', 'test']) {
        const finished = await runOnebyte('simulate', runFile, '--out', out, '--set', `data.${split}=${rows}`);
        assert.equal(finished.code, 2, finished.stderr);
        assert.match(finished.stderr, expected);
        assert(!existsSync(out), 'nothing was begun');
      }
  });

  it('needs training rows, exit code 2', async () => {
    const { code, stderr } = await runOnebyte('simulate', runFile, '--set', 'data.train=');
    assert.equal(code, 2, stderr);
    assert.match(stderr, /run\.yaml: data\.train is missing/);
  });

  it('ends the run when a row of the training data does not fit, exit code 2, and starts nothing again', async () => {
    const file = join(directory, 'long-completion.jsonl');
    writeFileSync(file, `${JSON.stringify({ prompt: 'It was', completion: ' good'.repeat(200) })}\n`);
    const set = settingFlags([`data.train=${file}`, 'data.test=']);
    const flags = ['--out', join(directory, 'no-fit'), '--workers', '1', ...set];
    const { code, stderr } = await runOnebyte('simulate', runFile, ...flags);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /long-completion\.jsonl:1: .*do not fit data\.maxLength 128/);
    assert.doesNotMatch(stderr, /starting it again/);
  });

  it('ends in one line when its run.yaml cannot be written, exit code 2', async () => {
    const out = join(directory, 'no-run-file');
    mkdirSync(join(out, 'run.yaml'), { recursive: true });
    const flags = ['--resume', '--workers', '1', '--rounds', '1', '--set', 'data.test='];
    const { code, stderr } = await runOnebyte('simulate', runFile, '--out', out, ...flags);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /^onebyte: .*run\.yaml/m);
    assert.doesNotMatch(stderr, /\n {4}at /, 'no stack');
  });

  it('leaves a run as it was when it refuses to go on with it, exit code 2', async () => {
    const out = join(directory, 'refused');
    const small = (...flags: string[]) =>
      runOnebyte('simulate', runFile, '--out', out, '--workers', '1', '--set', 'data.test=', ...fewDevRows, ...flags);
    const started = await small('--rounds', '2');
    assert.equal(started.code, 0, started.stderr);
    const own = readFileSync(join(out, 'run.yaml'));
    const other = await small('--rounds', '3', '--resume', '--set', 'learning.epsilon=0.5');
    assert.equal(other.code, 2, other.stderr);
    assert.match(other.stderr, /learning\.epsilon/);
    const fewer = await small('--rounds', '1', '--resume');
    assert.equal(fewer.code, 2, fewer.stderr);
    assert.match(fewer.stderr, /rounds 1: the run in .*refused has 2 already/);
    assert.deepEqual(readFileSync(join(out, 'run.yaml')), own);
  });

  it('says of a run that diverges how its loss went, and ends with exit code 6', async () => {
    const settings = ['learning.learningRate=1e30', 'trainer.evaluateEvery=1', 'data.test='];
    const diverging = [...settingFlags(settings), ...fewDevRows];
    const { code, stderr } = await runOnebyte(
      ...['simulate', runFile, '--out', join(directory, 'diverges'), '--workers', '1', ...diverging],
    );
    assert.equal(code, 6, stderr);
    assert.match(stderr, /dev loss not finite/);
    assert.match(stderr, /^onebyte: trainer ended with code 6:\n(.*\n)*info: .*Lower learning\.learningRate/m);
    assert.doesNotMatch(stderr, /^\{/m, 'text, not JSON');
  });

  it('ends the run when the test split cannot be read, exit code 2', async () => {
    const file = join(directory, 'test.jsonl');
    writeFileSync(file, `${JSON.stringify({ prompt: 'It was', completion: ' good'.repeat(200) })}\n`);
    const endless = ['--rounds', '1000000', '--no-dashboard', '--out', join(directory, 'endless')];
    const { code, stderr } = await runOnebyte('simulate', runFile, '--set', `data.test=${file}`, ...endless);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /evaluation of the test split failed:.*test\.jsonl:1: /s);
  });
});

describe('a model that is being downloaded', () => {
  for (const [command, ...flags] of [['simulate'], ['trainer'], ['worker', '--trainer', '127.0.0.1:1']] as const)
    it(`lets ${command} be stopped, exit code 75`, async () => {
      const asked = deferred<void>();
      const silent = createServer(() => asked.resolve());
      await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
      const running = startOnebyte(
        [
          command,
          runFile,
          ...flags,
          '--set',
          'model=org/tiny',
          ...(command === 'worker' ? [] : ['--out', join(directory, `${command}-stopped`)]),
        ],
        {
          HF_ENDPOINT: `http://127.0.0.1:${(silent.address() as { port: number }).port}`,
          HF_HOME: join(directory, 'hf'),
        },
      );
      await asked.promise;
      running.process.kill('SIGTERM');
      const { code, stderr } = await running.finished;
      silent.close();
      assert.equal(code, 75, stderr);
      assert.match(stderr, /stopped by SIGTERM/);
    });
});

describe('onebyte trainer', () => {
  it('names a port in use, and leaves its directory to the next start, exit code 2', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = `127.0.0.1:${(server.address() as { port: number }).port}`;
    const { code, stderr } = await trainer('--listen', address);
    server.close();
    assert.equal(code, 2, stderr);
    assert.match(stderr, /the port is in use/);
    assert.deepEqual(readdirSync(join(directory, 'never')), []);
  });
  it("that another one took for dead writes nothing more of the run that is the other one's, exit code 5", async () => {
    const out = join(directory, 'taken-over');
    const running = startOnebyte(['trainer', runFile, ...fewDevRows, '--out', out]);
    await running.line(/listening on/);
    const lock = join(out, 'trainer.lock');
    rmSync(lock);
    symlinkSync('elsewhere 1 0 boot/pid id', lock);
    const { code, stderr } = await running.finished;
    assert.match(stderr, /another process took it/);
    const metrics = readFileSync(join(out, 'metrics.jsonl'), 'utf8');
    assert.equal(code, 5);
    assert.match(metrics, /^{"kind":"start"/);
    assert.doesNotMatch(metrics, /"kind":"(workers|end)"/);
  });
});

describe('onebyte', () => {
  it('ends quietly when nobody reads what it prints', async () => {
    const command = `"${process.execPath}" bin/onebyte.js k8s render examples/tiny-reviews/run.yaml | true`;
    const { stderr } = await promisify(execFile)('sh', ['-c', command], { cwd: root });
    assert.equal(stderr, '');
  });

  it('prints all, however late somebody reads it', async () => {
    const file = join(temporaryDirectory(), 'run.yaml');
    cpSync(runFile, file);
    // More than a pipe holds.
    appendFileSync(file, `# ${'x'.repeat(900_000)}\n`);
    // The time that a command has to end is over at once, and it says so.
    const hook = `const { setTimeout } = globalThis;
      globalThis.setTimeout = (run, ms) => setTimeout(() => (run(), ms === 5_000 && console.error('over')), ms % 5_000);`;
    const flags = ['--import', `data:text/javascript,${encodeURIComponent(hook)}`];
    const command = [bin, 'k8s', 'render', file, '--model-claim', 'm', '--data-claim', 'd'];
    const { stdout, stderr } = spawn(process.execPath, [...flags, ...command], { cwd: root });
    await once(stderr, 'readable');
    assert.equal(String(stderr.read()), 'over\n');
    assert.match(await text(stdout), /x{900000}/);
  });

  it('goes on when nobody reads what it tells beside, and ends with the same exit code', async () => {
    const codeOf = async (...args: string[]): Promise<number | null> => {
      const { process, finished } = startOnebyte(args);
      process.stderr!.destroy();
      return (await finished).code;
    };
    const out = join(temporaryDirectory(), 'run');
    const run = ['simulate', runFile, '--workers', '1', '--rounds', '2', '--out', out, ...settingFlags(['data.test='])];
    assert.deepEqual([await codeOf(...run), await codeOf('replay', '--log', `${out}-none`)], [0, 2]);
  });
});

describe('onebyte replay', () => {
  it('that cannot write where it shall is a wrong command line, exit code 2', {
    skip: platform() !== 'linux',
  }, async () => {
    const log = join(goldenFiles, 'round-logs/format-3.log');
    const { code, stderr } = await runOnebyte('replay', '--log', log, '--out', '/proc/adapter');
    assert.equal(code, 2, stderr);
    assert.match(stderr, /\/proc takes no directories/);
  });
});

describe('onebyte worker', () => {
  const cases: [string, string[], RegExp][] = [
    ['no threads', ['--threads', '0'], /--threads.*>=1/],
    ['a name that no trainer takes', ['--name', 'a worker'], /--name "a worker": expected 1…128 letters, digits or/],
  ];
  for (const [name, flags, expected] of cases)
    it(`with ${name} is refused before it looks for a trainer, exit code 2`, async () => {
      const giveUp = ['--set', 'worker.giveUpMs=1'];
      const { code, stderr } = await runOnebyte('worker', runFile, '--trainer', '127.0.0.1:1', ...giveUp, ...flags);
      assert.equal(code, 2, stderr);
      assert.match(stderr, expected);
    });

  it('tries again while no trainer answers, says so, and gives up with exit code 4', async () => {
    const { code, stderr } = await runOnebyte(
      ...['worker', runFile, '--trainer', '127.0.0.1:1', '--set', 'worker.giveUpMs=1500'],
    );
    assert.equal(code, 4, stderr);
    assert.match(stderr, /cannot reach the trainer at 127\.0\.0\.1:1 .*trying again in \d+ ms/);
    assert.match(stderr, /^onebyte: gave up after \d s: cannot reach the trainer at .*is it running/m);
    assert.equal(
      stderr
        .trimEnd()
        .split('\n')
        .at(-1)!
        .match(/127\.0\.0\.1:1/g)?.length,
      2,
      'the address, and in the words of gRPC',
    );
  });

  it('that is killed and started again without --identity hears that its name is taken, and what helps', async (test) => {
    const trainer = startOnebyte(['trainer', runFile, '--out', join(directory, 'taken'), '--rounds', '1000000']);
    test.after(() => trainer.process.kill('SIGKILL'));
    const address = await addressOf(trainer);
    const worker = () => startOnebyte(['worker', runFile, '--trainer', address, '--number', '1']);
    const first = worker();
    await first.line(/joined as worker 1/);
    first.process.kill('SIGKILL');
    await first.finished;
    const again = worker();
    test.after(() => again.process.kill('SIGKILL'));
    const [said] = await again.line(/.*the name worker-1 is taken.*trying again.*/);
    assert.match(said, /does not take this worker yet: .*--identity/);
    assert.doesNotMatch(said, /cannot reach/);
  });

  it('with another run config, model, number or dev split than the trainer knows is refused', async () => {
    const running = startOnebyte(['trainer', runFile, '--out', join(directory, 'refusals')]);
    const address = await addressOf(running);
    const worker = (...flags: string[]) => runOnebyte('worker', '--trainer', address, ...flags);

    const config = await worker(runFile, '--set', 'learning.epsilon=0.5');
    assert.equal(config.code, 3, config.stderr);
    assert.match(config.stderr, /learning\.epsilon: 0\.5 here, 0\.01 there/);

    const other = changedModel('other-model', (model) => {
      const file = join(model, 'model.safetensors');
      const bytes = readFileSync(file);
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(file, bytes);
    });
    const model = await worker('--model', other, '--data', join(tinyReviews, 'train.jsonl'));
    assert.equal(model.code, 2, model.stderr);
    assert.match(model.stderr, /another base model than the trainer's/);

    const data = ['--model', join(tinyReviews, 'model'), '--data', join(tinyReviews, 'train.jsonl')];
    const withoutDev = await worker(...data);
    assert.equal(withoutDev.code, 2, withoutDev.stderr);
    assert.match(withoutDev.stderr, /evaluates 500 rows of a dev split: name the same file with --dev/);
    await running.line(/left: it failed/);
    const otherDev = await worker(...data, '--dev', join(tinyReviews, 'test.jsonl'));
    assert.equal(otherDev.code, 2, otherDev.stderr);
    assert.match(otherDev.stderr, /test\.jsonl: 1000 rows, the trainer's dev split has 500/);

    running.process.kill('SIGTERM');
    const { code, stderr } = await running.finished;
    assert.equal(code, 75, stderr);
  });
});
