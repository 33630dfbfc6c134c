// A long run under steady trouble: every few seconds a worker is killed (-9) or started. The trainer must not grow, and
// at the end all replicas and the replayed log must be equal. Linux only: it reads /proc.
//   node scripts/soak.mjs [minutes=30] [run directory]
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import seedrandom from 'seedrandom';

const TROUBLE_EVERY_MS = 5_000;
const WORKERS = 3;
const minutes = Number(process.argv[2] ?? 30);
const directory = process.argv[3] ?? mkdtempSync(join(tmpdir(), 'onebyte-soak-'));
const root = fileURLToPath(new URL('..', import.meta.url));
const random = seedrandom('soak');
const workers = new Map();

function onebyte(...args) {
  const child = spawn(process.execPath, [join(root, 'bin/onebyte.js'), ...args, '--json'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ONEBYTE_LOG_FORMAT: 'json' },
  });
  const stdout = text(child.stdout);
  const ended = new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout })));
  return { child, ended };
}

const lastLine = async ({ ended }) => {
  const { code, stdout } = await ended;
  const out = (await stdout).trimEnd();
  return { code, result: out === '' ? undefined : JSON.parse(out.split('\n').at(-1)) };
};

function startTrainer(rounds, listen) {
  const run = ['trainer', 'examples/tiny-reviews/run.yaml', '--resume', '--out', join(directory, 'run')];
  const settings = ['data.dev=', 'learning.decayRounds=0', 'data.shards=8', 'trainer.checkpointEvery=500'];
  const trainer = onebyte(
    ...run,
    ...['--rounds', String(rounds), '--listen', listen],
    ...settings.flatMap((setting) => ['--set', setting]),
  );
  const address = new Promise((resolve, reject) => {
    let log = '';
    trainer.child.stderr.setEncoding('utf8').on('data', (chunk) => {
      if (log === undefined) return;
      log += chunk;
      const match = /"address":"([^"]+)"/.exec(log);
      if (match) resolve(match[1]);
      if (match) log = undefined;
    });
    trainer.child.on('close', () => reject(new Error(`the trainer did not start:\n${log}`)));
  });
  return { ...trainer, address };
}

function startWorker(number, address) {
  const args = ['--trainer', address, '--number', String(number), '--threads', '1'];
  const worker = onebyte(
    'worker',
    ...args,
    '--model',
    'examples/tiny-reviews/model',
    '--data',
    'examples/tiny-reviews/train.jsonl',
  );
  worker.child.stderr.resume();
  workers.set(number, worker);
  worker.child.on('close', () => workers.get(number) === worker && workers.delete(number));
}

/** Kills a worker, or starts one where there is room. */
function trouble(address) {
  const free = Array.from({ length: WORKERS + 1 }, (_, i) => i).filter((i) => !workers.has(i));
  const present = [...workers.keys()];
  if (free.length > 0 && (present.length < 2 || random() < 0.5)) startWorker(free[0], address);
  else workers.get(present[Math.floor(random() * present.length)]).child.kill('SIGKILL');
}

function sizeOf(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return {
    rssMiB: Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)[1]) / 1024),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    threads: Number(/Threads:\s+(\d+)/.exec(status)[1]),
  };
}

const trainer = startTrainer(2 ** 31 - 1, '127.0.0.1:0');
const address = await trainer.address;
for (let i = 0; i < WORKERS; i++) startWorker(i, address);
const started = Date.now();
const samples = [];
await new Promise((resolve) => {
  const timer = setInterval(() => {
    trouble(address);
    samples.push({
      seconds: Math.round((Date.now() - started) / 1000),
      workers: workers.size,
      ...sizeOf(trainer.child.pid),
    });
    if (samples.length % 12 === 0) console.error(JSON.stringify(samples.at(-1)));
    if (Date.now() - started < minutes * 60_000) return;
    clearInterval(timer);
    resolve();
  }, TROUBLE_EVERY_MS);
});
trainer.child.kill('SIGTERM');
const { result: drained } = await lastLine(trainer);
for (let i = 0; i < WORKERS; i++) if (!workers.has(i)) startWorker(i, address);
const last = startTrainer(drained.rounds + 50, address);
const present = [...workers.values()];
const { result: done } = await lastLine(last);
// One that missed the end would look for the trainer for long.
setTimeout(() => {
  for (const { child } of present) child.kill('SIGTERM');
}, 20_000).unref();
const ends = (await Promise.all(present.map(lastLine))).filter(({ code }) => code === 0);
const { result: replayed } = await lastLine(onebyte('replay', '--log', done.roundLog));
// One that could not catch up before the trainer was gone holds an older replica, and says so.
const whole = ends.filter(({ result }) => result.rounds === done.rounds);
const digests = [done.adapterDigest, replayed.adapterDigest, ...whole.map(({ result }) => result.adapterDigest)];

// The first quarter warms up: caches fill, compilers run.
const half = (from, to) => samples.slice(Math.floor(samples.length * from), Math.floor(samples.length * to));
const mean = (part, key) => Math.round(part.reduce((sum, sample) => sum + sample[key], 0) / part.length);
const summary = {
  minutes,
  rounds: done.rounds,
  troubles: samples.length,
  rssMiB: [mean(half(0.25, 0.5), 'rssMiB'), mean(half(0.75, 1), 'rssMiB')],
  descriptors: [mean(half(0.25, 0.5), 'descriptors'), mean(half(0.75, 1), 'descriptors')],
  digests: new Set(digests).size === 1 ? `${digests.length} equal` : digests,
};
console.log(JSON.stringify(summary));
if (process.argv[3] === undefined) rmSync(directory, { recursive: true, force: true });
const grows = summary.rssMiB[1] > summary.rssMiB[0] * 1.2 + 20 || summary.descriptors[1] > summary.descriptors[0] + 5;
process.exit(new Set(digests).size > 1 || whole.length === 0 || grows ? 1 : 0);
