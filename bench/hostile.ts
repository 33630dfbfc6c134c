/** `onebyte bench hostile`: what hostile members cost a run of real processes: rounds a second with and without them in turns, and what it learns. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { deferred } from '../platform/deferred.ts';
import { childFailure, startChild } from '../processes/child-process.ts';
import { runSimulation, type SimulationResult } from '../processes/simulation.ts';
import { ATTACKS } from './hostile/attacks.ts';
import { hostileMember } from './hostile/hostile-member.ts';
import { describeMachine, type Machine } from './machine.ts';
import { rounded } from './rounded.ts';

export interface HostileBenchOptions {
  /** Directory of the example: model/, train.jsonl, dev.jsonl, test.jsonl. */
  readonly example: string;
  /** Of the run that learns. Default 200. */
  readonly rounds?: number;
  /** Turns with hostile members, and as many without. Default 4. */
  readonly turns?: number;
  /** Length of a turn. Default 10. */
  readonly seconds?: number;
  readonly onRow?: (row: HostileRow) => void;
}

export interface HostileRow {
  readonly hostile: number;
  readonly honest: number;
  /** In the run whose hostile members come and go. */
  readonly roundsPerSecond: number;
  /** On the test split after a run of its own, hostile members from its first round to its last. */
  readonly accuracy: number;
  readonly loss: number;
}

export interface HostileBench {
  readonly rows: readonly HostileRow[];
  /** Rounds a second beside hostile members, over those without. */
  readonly ratio: number;
  readonly machine: Machine;
}

const HONEST = 8;
/** A third of all. */
const HOSTILE = 4;
/** Rounds before those that count, and time after hostile members came or went, ms. */
const WARM_UP = 20;
const SETTLE_MS = 1_000;
const MAX_ROUNDS = 2 ** 31 - 1;

export async function benchHostile(options: HostileBenchOptions): Promise<HostileBench> {
  const { example, rounds = 200, turns = 4, seconds = 10, onRow } = options;
  const directory = mkdtempSync(join(tmpdir(), 'onebyte-hostile-'));
  try {
    const rates = await ratesInTurns(example, join(directory, 'rates'), turns, seconds);
    const rows: HostileRow[] = [];
    for (const hostile of [0, HOSTILE]) {
      const learned = await learn(example, join(directory, `beside-${hostile}`), rounds, hostile);
      const roundsPerSecond = hostile === 0 ? rates.without : rates.beside;
      const row = rounded({ hostile, honest: HONEST, roundsPerSecond, ...learned });
      rows.push(row);
      onRow?.(row);
    }
    return { rows, ratio: rounded(rates.beside / rates.without), machine: describeMachine() };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** One run; hostile members come and go, others each time. @returns rounds a second */
async function ratesInTurns(
  example: string,
  directory: string,
  turns: number,
  seconds: number,
): Promise<{ without: number; beside: number }> {
  const run = startRun(example, directory, MAX_ROUNDS);
  const counted = { without: 0, beside: 0 };
  const count = async (side: keyof typeof counted): Promise<void> => {
    await delay(SETTLE_MS);
    const before = run.rounds();
    await delay(seconds * 1000);
    counted[side] += run.rounds() - before;
  };
  await run.after(WARM_UP);
  for (let turn = 0; turn < turns; turn++) {
    await count('without');
    const leave = await besiege(run, turn * HOSTILE, SETTLE_MS + seconds * 1000);
    await count('beside');
    await leave();
  }
  await run.stop();
  return { without: counted.without / (turns * seconds), beside: counted.beside / (turns * seconds) };
}

/** A whole run beside `hostile` members. */
async function learn(
  example: string,
  directory: string,
  rounds: number,
  hostile: number,
): Promise<{ accuracy: number; loss: number }> {
  const run = startRun(example, directory, rounds);
  await run.after(1);
  const leave = hostile === 0 ? async () => {} : await besiege(run, 0, SETTLE_MS);
  const { trainer } = await run.result;
  await leave();
  const args = ['eval', '--run', run.file, '--json', '--adapter', trainer.checkpointDir!];
  const child = startChild(args, join(directory, 'logs', 'eval.log'), () => {});
  const { code, stdout } = await child.exit;
  if (code !== 0) throw childFailure(`evaluation of the test split ended with code ${code}`, child, code);
  const { accuracy, loss } = JSON.parse(stdout.trimEnd().split('\n').at(-1)!);
  return { accuracy, loss };
}

interface Run {
  readonly file: string;
  readonly address: Promise<string>;
  readonly result: Promise<SimulationResult>;
  rounds(): number;
  /** Resolves after so many rounds. */
  after(rounds: number): Promise<void>;
  stop(): Promise<void>;
}

function startRun(example: string, directory: string, rounds: number): Run {
  mkdirSync(join(directory, 'logs'), { recursive: true });
  const file = join(directory, 'logs', 'run.yaml');
  const data = Object.fromEntries(['train', 'dev', 'test'].map((split) => [split, resolve(example, `${split}.jsonl`)]));
  const trainer = { startWorkers: HONEST, evaluateEvery: 50, checkpointEvery: 0 };
  writeFileSync(
    file,
    stringify({ model: resolve(example, 'model'), seed: 1, rounds, data: { ...data, maxLength: 128 }, trainer }),
  );
  const drain = new AbortController();
  const address = deferred<string>();
  let done = 0;
  const waiting = new Set<() => void>();
  const result = runSimulation({
    runFile: file,
    directory,
    rounds,
    decayRounds: undefined,
    workers: HONEST,
    threads: 1,
    worker: { provider: 'auto' },
    dashboard: undefined,
    drain: drain.signal,
    onListening: (at) => address.resolve(at),
    view: {
      say: () => {},
      onReport: (report) => {
        if (report.kind === 'round') done = report.round;
        for (const look of waiting) look();
      },
    },
  });
  result.catch((error) => address.reject(error));
  address.promise.catch(() => {});
  const after = (wanted: number): Promise<void> =>
    new Promise((resolve_, reject) => {
      const look = (): void => void (done >= wanted && waiting.delete(look) && resolve_());
      waiting.add(look);
      result.then(() => reject(new Error(`the run ended after ${done} rounds`)), reject);
    });
  return {
    file,
    address: address.promise,
    result,
    rounds: () => done,
    after,
    async stop() {
      drain.abort();
      await result;
    },
  };
}

/** Hostile members join, each with an attack of its own. @returns what makes them leave */
async function besiege(run: Run, first: number, turnMs: number): Promise<() => Promise<void>> {
  const address = await run.address;
  const leave = new AbortController();
  const honest = Array.from({ length: HONEST }, (_, i) => `worker-${i}`);
  const members = Array.from({ length: HOSTILE }, (_, i) =>
    hostileMember({
      ...{ address, honest, turnMs, signal: leave.signal },
      name: `hostile-${i}`,
      first: (first + i) % ATTACKS.length,
    }),
  );
  return async () => {
    leave.abort();
    await Promise.all(members);
  };
}
