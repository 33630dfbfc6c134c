/** The soak itself: honest workers, two hostile members, kills at random moments, and what must hold at the end. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import seedrandom from 'seedrandom';
import { ATTACKS } from '../../bench/hostile/attacks.ts';
import { hostileMember } from '../../bench/hostile/hostile-member.ts';
import { mean } from '../../bench/statistics.ts';
import type { TrainerMessage } from '../../proto/gen/onebyte.ts';
import { addressOf, lastJson, runOnebyte, tinyReviews } from '../../test/support/onebyte.ts';
import { roundLogFile } from '../../trainer/store/open-run.ts';
import { readRoundLog, recordsOf } from '../../trainer/store/round-log.ts';
import { Heard } from './heard.ts';
import { Survivor, sizeOf, startTrainer, startWorker, workerName } from './processes.ts';

/** Two hostile members are a third of all. */
const WORKERS = 4;
const DEV_ROWS = 64;
/** How long each attack goes on, ms. */
const TURN_MS = 10_000;
/** Between two kills, ms, and how long what was killed stays away, ms. */
const KILL_EVERY_MS = { least: 500, most: 6_000 };
const DOWN_MS = 3_000;
/** Part of the kills that hit the trainer, for this part of the time; then one trainer lives on, to see whether it grows. */
const TRAINER_KILLS = 0.3;
const TRAINER_KILLED_FOR = 0.75;
/** Rounds after the last kill. */
const LAST_ROUNDS = 50;
/** How long a worker may look for a trainer that is done before it is told to end, ms. */
const LATE_MS = 20_000;

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '30' }, out: { type: 'string' } } });
const minutes = Number(values.minutes);
if (!(minutes > 0)) throw new Error(`--minutes ${values.minutes}: expected a number above 0`);
const directory = values.out ?? mkdtempSync(join(tmpdir(), 'onebyte-soak-'));
mkdirSync(directory, { recursive: true });
const dev = join(directory, 'dev.jsonl');
writeFileSync(dev, readFileSync(join(tinyReviews, 'dev.jsonl'), 'utf8').split('\n').slice(0, DEV_ROWS).join('\n'));
const random = seedrandom('soak');
const between = (low: number, high: number): number => low + random() * (high - low);
const downMs = (): number => between(0, DOWN_MS);
const place = { directory, dev };
const heard = new Heard();
/** Turns of each attack. */
const turns = new Map<string, number>();
const all: Survivor[] = [];

const say = (text: string): void => console.error(`${new Date().toISOString()} ${text}`);
const killsOf = (trainer: Survivor, workers: readonly Survivor[]): string =>
  `${trainer.kills} kills of the trainer, ${workers.reduce((sum, { kills }) => sum + kills, 0)} of workers`;

type Size = ReturnType<typeof sizeOf>;

/** Resolves when the time is over, after kills at random moments. @returns what the trainer took since it was left alone */
async function trouble(trainer: Survivor, workers: readonly Survivor[]): Promise<Size[]> {
  const beginMs = performance.now();
  const part = (): number => (performance.now() - beginMs) / (minutes * 60_000);
  const sizes: Size[] = [];
  let told = 0;
  let isTrainerSpared = false;
  while (part() < 1) {
    await delay(between(KILL_EVERY_MS.least, KILL_EVERY_MS.most));
    if (!isTrainerSpared && part() >= TRAINER_KILLED_FOR) {
      isTrainerSpared = true;
      say('from here on workers alone are killed: does the trainer grow?');
    }
    const victims = workers.filter(({ isMember }) => isMember);
    if (!isTrainerSpared && random() < TRAINER_KILLS) trainer.kill();
    // Were more of them away at once, for as long as a busy machine takes to start one, the hostile would be most of those who are there.
    else if (victims.length > WORKERS / 2) victims[Math.floor(random() * victims.length)]!.kill();
    if (part() >= (told + 1) / 10) say(`${10 * ++told} %: ${heard.rounds} records heard, ${killsOf(trainer, workers)}`);
    if (isTrainerSpared && !trainer.isDown) sizes.push(sizeOf(trainer.running.process.pid!));
  }
  return sizes;
}

/** Two hostile members, half of all attacks apart. @returns what makes them leave */
function attack(address: string): () => Promise<void> {
  const leave = new AbortController();
  const honest = Array.from({ length: WORKERS }, (_, i) => workerName(i));
  const common = {
    address,
    honest,
    turnMs: TURN_MS,
    signal: leave.signal,
    onTurn: (name: string) => void turns.set(name, (turns.get(name) ?? 0) + 1),
    onMessage: (message: TrainerMessage['message']) => {
      if (message?.$case === 'record') heard.hear(message.value);
    },
  };
  const members = Promise.all(
    [0, Math.floor(ATTACKS.length / 2)].map((first, i) => hostileMember({ ...common, name: `hostile-${i}`, first })),
  );
  return async () => {
    leave.abort();
    await members;
  };
}

interface End {
  readonly rounds: number;
  readonly adapterDigest: string;
}

/** Lets the run go on for some rounds without kills, to its end. */
async function finish(trainer: Survivor, workers: readonly Survivor[], listen: string): Promise<[End, ...End[]]> {
  say('no more kills');
  trainer.running.process.kill('SIGTERM');
  const { rounds } = (await trainer.over) as End;
  const last = new Survivor('the last trainer', () => startTrainer(place, rounds + LAST_ROUNDS, listen), downMs);
  all.push(last);
  const done = (await last.over) as End;
  setTimeout(() => {
    for (const { running } of workers) running.process.kill('SIGTERM');
  }, LATE_MS).unref();
  const ends = (await Promise.all(workers.map(({ over }) => over))) as End[];
  // One that could not catch up before the trainer was gone holds an older replica, and says so.
  return [done, ...ends.filter((end) => end.rounds === done.rounds)];
}

/** What is wrong with the run after its end. */
async function faultsOf(ends: readonly End[], sizes: readonly Size[]): Promise<string[]> {
  const log = roundLogFile(join(directory, 'run'));
  const { frames, tornBytes } = await readRoundLog(log);
  const faults = heard.faultsOf(recordsOf(frames));
  if (tornBytes > 0) faults.push(`${tornBytes} bytes of no frame at the end of ${log}`);
  const replayed: { round: number; adapterDigest: string } = lastJson(
    await runOnebyte('replay', '--log', log, '--json'),
  );
  const adapters = [...ends.map(({ adapterDigest }) => adapterDigest), replayed.adapterDigest];
  if (ends.length < 2) faults.push('no worker saw the end');
  if (new Set(adapters).size > 1) faults.push(`adapters differ (trainer, workers, replay): ${adapters.join(' ')}`);
  const [before, after] = [sizes.slice(0, sizes.length / 2), sizes.slice(sizes.length / 2)].map(meanSize) as [
    Size,
    Size,
  ];
  if (after.rssMiB > before.rssMiB * 1.2 + 20)
    faults.push(`the trainer grew from ${before.rssMiB} to ${after.rssMiB} MiB`);
  if (after.descriptors > before.descriptors + 50)
    faults.push(`the trainer had ${before.descriptors} open files, then ${after.descriptors}`);
  return faults;
}

const meanSize = (sizes: readonly Size[]): Size => ({
  rssMiB: Math.round(mean(sizes.map(({ rssMiB }) => rssMiB))),
  descriptors: Math.round(mean(sizes.map(({ descriptors }) => descriptors))),
});

async function soak(): Promise<string[]> {
  let listen = '127.0.0.1:0';
  const trainer = new Survivor('the trainer', () => startTrainer(place, 2 ** 31 - 1, listen), downMs);
  all.push(trainer);
  listen = await addressOf(trainer.running);
  const workers = Array.from(
    { length: WORKERS },
    (_, i) => new Survivor(workerName(i), () => startWorker(place, i, listen), downMs),
  );
  all.push(...workers);
  const ended = Promise.race(all.map(({ over }) => over)).then(() => {
    throw new Error('a process ended that nobody had killed');
  });
  ended.catch(() => {});
  // The number that a worker asks for is its own from its first contribution on.
  await trainer.running.line(/"round":20\b/);
  say(`trainer at ${listen}`);
  const leave = attack(listen);
  const sizes = await Promise.race([trouble(trainer, workers), ended]);
  const ends = await finish(trainer, workers, listen);
  await leave();
  const faults = await faultsOf(ends, sizes);
  const summary = {
    minutes,
    rounds: ends[0].rounds,
    kills: killsOf(trainer, workers),
    acknowledged: heard.rounds,
    turns: Object.fromEntries(turns),
    equal: `${ends.length} replicas and the replayed log`,
    faults,
  };
  console.log(JSON.stringify(summary));
  return faults;
}

process.on('exit', () => {
  for (const { running } of all) running.process.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));
process.exitCode = (await soak()).length > 0 ? 1 : 0;
if (values.out === undefined && process.exitCode === 0) rmSync(directory, { recursive: true, force: true });
