/**
 * A trainer and its workers as child processes on this machine; what dies is started again.
 *
 * The room processes/ is what commands and benchmarks share about processes: how they are started, what they tell their parent, what a
 * trainer and a worker both prepare before they begin. It prints nothing and reads no flag.
 */
import { join } from 'node:path';
import { deferred } from '../platform/deferred.ts';
import { nvidiaGpus } from '../platform/nvidia.ts';
import { EXIT, OperatingError } from '../proto/operating-error.ts';
import type { WorkerSettings } from '../settings/worker-settings.ts';
import type { BriefReport } from '../trainer/report-kinds.ts';
import type { TrainerResult } from '../trainer/run-trainer.ts';
import type { KeptBudget } from '../worker/core/state.ts';
import { beginText, mostSpent, spentText } from '../worker/privacy/privacy-budget.ts';
import type { WorkerResult } from '../worker/run-worker.ts';
import { type Child, type ChildMessage, childFailure, startChild } from './child-process.ts';

/** Processes started again in one simulation before it gives up. */
const MAX_RESTARTS = 100;
/** Exit codes after which starting again is of no use. */
const FINAL: readonly (number | null)[] = [EXIT.internal, EXIT.usage, EXIT.refused, EXIT.durableStore, EXIT.diverged];
/** How long children may take to leave before they are killed, ms. */
const LEAVE_GRACE_MS = 15_000;

/** Who is told what happens while a simulation runs. */
export interface SimulationView {
  onReport(report: BriefReport, wire: { up: number; down: number }): void;
  say(text: string): void;
}

export interface SimulationOptions {
  /** The run file with all defaults settled. */
  readonly runFile: string;
  readonly directory: string;
  readonly rounds: number;
  /** From the next record on; undefined: as the run file and the run so far have it. */
  readonly decayRounds: number | undefined;
  readonly workers: number;
  /** Threads of each worker. */
  readonly threads: number;
  /** Where forward passes run. */
  readonly worker: Pick<WorkerSettings, 'provider' | 'device'>;
  /** `host:port` of the dashboard; undefined: none. */
  readonly dashboard: string | undefined;
  readonly view: SimulationView;
  /** Is told where the trainer listens, each time it begins to. */
  readonly onListening?: (address: string) => void;
  /** Is told what the trainer ends with, while the processes end. */
  readonly onResult?: (result: TrainerResult) => void;
  readonly drain: AbortSignal;
}

export interface SimulationResult {
  readonly trainer: TrainerResult;
  /** What those workers told that saw the end. */
  readonly workers: readonly WorkerResult[];
  readonly restarts: number;
  /** Of the worker whose rows have told most; undefined where none has a privacy budget. */
  readonly budget: KeptBudget | undefined;
}

/** Workers in turn over the GPUs, unless the run file names one, or a provider that counts none. */
export function deviceFlags(
  worker: number,
  { provider, device }: SimulationOptions['worker'],
  countGpus: () => number,
): string[] {
  if (device !== undefined || (provider !== 'cuda' && provider !== 'auto')) return [];
  const gpus = countGpus();
  return gpus < 2 ? [] : ['--set', `worker.device=${worker % gpus}`];
}

/** Runs to the end of the run, or until it is drained. @throws OperatingError when a process fails for good */
export async function runSimulation(options: SimulationOptions): Promise<SimulationResult> {
  const simulation = new Simulation(options);
  const onDrain = (): void => simulation.drain();
  options.drain.addEventListener('abort', onDrain);
  try {
    if (options.drain.aborted) onDrain();
    return await simulation.run();
  } finally {
    options.drain.removeEventListener('abort', onDrain);
    simulation.kill();
  }
}

class Simulation {
  private readonly options: SimulationOptions;
  private readonly children = new Set<Child>();
  private readonly address = deferred<string>();
  private readonly failure = deferred<never>();
  private readonly workerResults: WorkerResult[] = [];
  /** By worker. */
  private readonly budgets = new Map<number, KeptBudget>();
  private listening: string | undefined;
  private dashboard: string | undefined;
  private trainerResult: TrainerResult | undefined;
  private restarts = 0;
  private draining = false;
  /** The trainer is gone for good, or is not wanted any longer: what ends is not started again. */
  private over = false;

  constructor(options: SimulationOptions) {
    this.options = options;
    this.dashboard = options.dashboard;
    this.failure.promise.catch(() => {});
  }

  async run(): Promise<SimulationResult> {
    const trainer = this.keepAlive('trainer', () => this.trainerArguments()).then(() => this.dismissWorkers());
    const address = await Promise.race([this.address.promise, this.failure.promise, trainer.then(() => undefined)]);
    const workers = Array.from({ length: address === undefined ? 0 : this.options.workers }, (_, i) =>
      this.keepAlive(`worker-${i}`, () => this.workerArguments(i, address!)),
    );
    await Promise.race([Promise.all([trainer, ...workers]), this.failure.promise]);
    if (!this.trainerResult) {
      this.options.drain.throwIfAborted();
      throw new OperatingError(EXIT.drained, 'the trainer was stopped before its first round');
    }
    const budget = mostSpent([...this.budgets.values()]);
    return { trainer: this.trainerResult, workers: this.workerResults, restarts: this.restarts, budget };
  }

  /** Asks all processes to leave in an orderly way. */
  drain(): void {
    this.draining = true;
    this.askToLeave();
  }

  /** Those that saw the end are about to go anyway. */
  private dismissWorkers(): void {
    this.over = true;
    this.askToLeave();
  }

  /** A process that is stopped or hangs hears of nothing: who has not left in time is killed. */
  private askToLeave(): void {
    for (const child of this.children) child.process.kill('SIGTERM');
    setTimeout(() => this.kill(), LEAVE_GRACE_MS).unref();
  }

  kill(): void {
    this.over = true;
    for (const child of this.children) child.process.kill('SIGKILL');
  }

  private trainerArguments(): string[] {
    const { runFile, directory, rounds, decayRounds } = this.options;
    return [
      ...['trainer', runFile, '--resume', '--out', directory, '--rounds', String(rounds)],
      ...(decayRounds === undefined ? [] : ['--decay-rounds', String(decayRounds)]),
      ...(this.listening === undefined ? [] : ['--listen', this.listening]),
      ...(this.dashboard === undefined ? [] : ['--dashboard', this.dashboard]),
    ];
  }

  private workerArguments(i: number, address: string): string[] {
    const { runFile, directory, threads, worker } = this.options;
    return [
      ...['worker', runFile, '--trainer', address, '--number', String(i), '--threads', String(threads)],
      // One that is killed goes on at once, not after its lease.
      ...['--identity', join(directory, 'logs', `worker-${i}.identity`)],
      ...deviceFlags(i, worker, nvidiaGpus),
    ];
  }

  /** Runs one process until it ends by itself; starts it again when it was killed or failed in a way that may pass. */
  private async keepAlive(name: string, args: () => string[]): Promise<void> {
    const logFile = join(this.options.directory, 'logs', `${name}.log`);
    while (!this.draining && !this.over) {
      const child = startChild(args(), logFile, (message) => this.onMessage(message));
      this.children.add(child);
      const { code, signal } = await child.exit;
      this.children.delete(child);
      if (code === EXIT.done || this.draining || this.over || (code === EXIT.drained && this.trainerResult)) return;
      // The trainer said that the run failed; its own code says why.
      if (code === EXIT.diverged && name !== 'trainer') return;
      const how = signal === null ? `ended with code ${code}` : `was killed by ${signal}`;
      if (FINAL.includes(code) || ++this.restarts > MAX_RESTARTS) {
        this.failure.reject(childFailure(`${name} ${how}`, child, code));
        return;
      }
      this.options.view.say(`${name} ${how}; starting it again`);
    }
  }

  private onMessage(message: ChildMessage): void {
    switch (message.kind) {
      case 'listening':
        if (this.listening !== message.address) this.options.view.say(`trainer: ${message.address}`);
        if (message.resumed !== undefined) this.options.view.say(message.resumed);
        this.listening = message.address;
        this.address.resolve(message.address);
        this.options.onListening?.(message.address);
        break;
      case 'dashboard':
        // A trainer that is started again serves its page where the browsers look for it.
        if (this.dashboard !== new URL(message.url).host) this.options.view.say(`dashboard: ${message.url}`);
        this.dashboard = new URL(message.url).host;
        break;
      case 'trainer':
        this.options.view.onReport(message.report, message.wire);
        break;
      case 'trainerResult':
        this.trainerResult = message.result;
        this.options.onResult?.(message.result);
        break;
      case 'workerResult':
        if (message.result.exitCode === EXIT.done) this.workerResults.push(message.result);
        this.onResult(message.result);
        break;
      case 'worker':
        if (message.report.kind === 'spent') this.options.view.say(spentText(message.report));
        if (message.report.kind === 'joined') this.onJoined(message.report.worker, message.report.data.budget);
        break;
    }
  }

  /** What the rows have told already is said once for all workers. */
  private onJoined(worker: number, budget: KeptBudget | undefined): void {
    if (!budget || this.budgets.has(worker)) return;
    this.budgets.set(worker, budget);
    const budgets = [...this.budgets.values()];
    if (budgets.length === this.options.workers) this.options.view.say(beginText(mostSpent(budgets)!));
  }

  private onResult({ worker, privacy }: WorkerResult): void {
    const budget = this.budgets.get(worker ?? -1);
    if (budget && privacy) this.budgets.set(worker!, { ...budget, stand: privacy });
  }
}
