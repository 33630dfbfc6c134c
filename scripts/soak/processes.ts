/** The processes of a soak: a trainer and workers as an operator starts them, started again when they were killed. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { settingFlags } from '../../cli/command.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { type Finished, lastJson, type Running, runFile, startOnebyte } from '../../test/support/onebyte.ts';

const settings = ['data.test=', 'learning.decayRounds=0', 'data.shards=8', 'trainer.checkpointEvery=500'];
const sets = (dev: string): string[] => settingFlags([...settings, `data.dev=${dev}`, 'trainer.evaluateEvery=50']);

export interface Place {
  /** Of the run and of the workers' secrets. */
  readonly directory: string;
  /** The dev split. */
  readonly dev: string;
}

/** @param listen host and port; port 0: chosen by the system */
export function startTrainer({ directory, dev }: Place, rounds: number, listen: string): Running {
  const run = ['trainer', runFile, '--resume', '--out', join(directory, 'run'), '--json'];
  return startOnebyte([...run, '--rounds', String(rounds), '--listen', listen, ...sets(dev)]);
}

export const workerName = (number: number): string => `worker-${number}`;

export function startWorker({ directory, dev }: Place, number: number, trainer: string): Running {
  const identity = join(directory, `${workerName(number)}.identity`);
  const run = ['worker', runFile, '--trainer', trainer, '--number', String(number), '--json'];
  return startOnebyte([...run, '--identity', identity, '--threads', '1', ...sets(dev)]);
}

/** One of them, through its lives. */
export class Survivor {
  readonly name: string;
  running: Running;
  kills = 0;
  /** The result of its last life, once it is over. */
  readonly over: Promise<unknown>;
  /** Killed, and not started again yet. */
  isDown = false;
  /** A worker: the trainer has welcomed it in this life. */
  isMember = false;
  private readonly start: () => Running;
  private readonly downMs: () => number;

  /** @param downMs how long it stays away after a kill */
  constructor(name: string, start: () => Running, downMs: () => number) {
    this.name = name;
    this.start = start;
    this.downMs = downMs;
    this.running = this.begin();
    this.over = this.live();
  }

  private begin(): Running {
    const running = this.start();
    running.line(/"kind":"joined"/).then(
      () => {
        this.isMember = true;
      },
      () => {},
    );
    return running;
  }

  kill(): void {
    if (this.isDown) return;
    this.isDown = true;
    this.isMember = false;
    this.kills++;
    this.running.process.kill('SIGKILL');
  }

  /** @throws what it ended with where nobody killed it and it was not told to end */
  private async live(): Promise<unknown> {
    for (;;) {
      const finished = await this.running.finished;
      if (this.isDown) await delay(this.downMs());
      else return resultOf(this.name, finished);
      this.isDown = false;
      this.running = this.begin();
    }
  }
}

function resultOf(name: string, finished: Finished): unknown {
  const { code, stderr } = finished;
  if (code === EXIT.done || code === EXIT.drained) return lastJson(finished);
  throw new Error(`${name} ended with code ${code}:\n${stderr.trimEnd().split('\n').slice(-10).join('\n')}`);
}

/** What process `pid` takes; Linux alone tells. */
export function sizeOf(pid: number): { rssMiB: number; descriptors: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const rssMiB = Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)![1]) / 1024);
  return { rssMiB, descriptors: readdirSync(`/proc/${pid}/fd`).length };
}
