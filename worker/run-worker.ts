/**
 * The worker process: carries out what the core asks for. Holds no rule of the protocol.
 *
 * The room worker/ measures: core/ decides what is done when, estimators/ turn a minibatch into gradient bytes, objectives/ say what is
 * measured, transport/ speaks with the trainer. It knows no round log, and nothing of how rounds close.
 */
import { setTimeout as delay } from 'node:timers/promises';
import seedrandom from 'seedrandom';
import { deferred } from '../platform/deferred.ts';
import { prepareCuda } from '../platform/nvidia.ts';
import type { PrivacyBudget, ReplicaDigest } from '../proto/gen/onebyte.ts';
import { EXIT, type ExitCode, OperatingError } from '../proto/operating-error.ts';
import { parseRunConfig, type RunConfig, runConfigSha256 } from '../proto/run-config.ts';
import { ownLearning } from '../settings/worker-settings.ts';
import type { ComputeOptions, ComputeReport } from './compute.ts';
import {
  type CoreReport,
  initialWorker,
  type RunTerms,
  type Task,
  type TaskResult,
  type WorkerEffect,
  type WorkerEvent,
  type WorkerState,
} from './core/state.ts';
import { step } from './core/step.ts';
import { untilAnswer } from './privacy/answer-time.ts';
import { type RemoteCompute, startCompute } from './remote-compute.ts';
import {
  type ClientAccess,
  ConnectionLost,
  connectTrainer,
  OtherRun,
  type TrainerConnection,
  type TrainerStream,
} from './transport/trainer-client.ts';

export interface WorkerOptions {
  readonly trainer: string;
  readonly access: ClientAccess;
  /** Unique in the run; a worker that starts again under its name gets its number back: at once with its secret, else after its lease. */
  readonly name: string;
  readonly requestedWorker: number | undefined;
  /** What outlives this process and lets the next one resume; undefined: it has to wait for the lease of this one. */
  readonly identity?: Identity;
  /** Checks the trainer's run config against the worker's own run file; throws OperatingError. */
  readonly checkConfig: (config: RunConfig) => Promise<void>;
  readonly compute: Omit<ComputeOptions, 'config'>;
  readonly onReport: (report: WorkerReport) => void;
  /** Aborted: leave the run and end with `drained`. */
  readonly drain: AbortSignal;
}

/** Where the secret of a worker's last welcome is kept. */
export interface Identity {
  /** The secret that was kept last; empty: none. */
  read(): Buffer;
  keep(secret: Buffer): void;
}

export type WorkerReport = { kind: 'ready'; compute: ComputeReport } | CoreReport;

export interface WorkerResult {
  readonly exitCode: ExitCode;
  readonly text: string;
  readonly worker: number | undefined;
  readonly rounds: number;
  readonly adapterDigest: string | undefined;
  readonly replicaDigest: string | undefined;
  /** How its privacy budget stands at the end. */
  readonly privacy?: PrivacyBudget | undefined;
}

/** Works until the run is done or the worker is drained. @throws OperatingError: refused, unreachable, wrong model or data */
export async function runWorker(options: WorkerOptions): Promise<WorkerResult> {
  const connection = connectTrainer(options.trainer, options.access);
  const worker = new RunningWorker(options, connection);
  try {
    return await worker.run();
  } finally {
    connection.close();
    await worker.stop();
  }
}

/** Exit codes with which a worker ends as it should; the others are errors. */
const ORDERLY: readonly ExitCode[] = [EXIT.done, EXIT.drained];

class RunningWorker {
  private readonly options: WorkerOptions;
  private readonly connection: TrainerConnection;
  private readonly random: () => number;
  private readonly state: WorkerState;
  private compute: RemoteCompute | undefined;
  private config: { readonly json: string; readonly parsed: RunConfig; readonly computesOn: string } | undefined;
  private stream: TrainerStream | undefined;
  /** Aborted with the stream that a snapshot was asked for on. */
  private hungUp = new AbortController();
  private heartbeat: NodeJS.Timeout | undefined;
  private retry: NodeJS.Timeout | undefined;
  private readonly outcome = deferred<{ exitCode: ExitCode; text: string }>();

  constructor(options: WorkerOptions, connection: TrainerConnection) {
    const { name, requestedWorker, compute, identity } = options;
    const resumeSecret = identity?.read() ?? Buffer.alloc(0);
    const { giveUpMs } = compute.settings;
    this.options = options;
    this.connection = connection;
    this.random = seedrandom(name);
    this.state = initialWorker({ name, requestedWorker, resumeSecret, giveUpMs }, performance.now());
  }

  async run(): Promise<WorkerResult> {
    const { drain } = this.options;
    const onDrain = (): void => this.dispatch({ kind: 'drain' });
    drain.addEventListener('abort', onDrain, { once: true });
    this.dispatch(drain.aborted ? { kind: 'drain' } : { kind: 'start' });
    try {
      const { exitCode, text } = await this.outcome.promise;
      if (ORDERLY.includes(exitCode)) return await this.result(exitCode, text);
      throw new OperatingError(exitCode, text);
    } finally {
      drain.removeEventListener('abort', onDrain);
    }
  }

  async stop(): Promise<void> {
    clearTimeout(this.retry);
    this.hangUp();
    await this.compute?.terminate();
  }

  private async result(exitCode: ExitCode, text: string): Promise<WorkerResult> {
    // Drained while it loads, a worker waits for nothing.
    const compute = this.config && this.compute;
    const replica = await compute?.digest();
    return {
      exitCode,
      text,
      worker: this.state.worker,
      rounds: replica?.round ?? 0,
      adapterDigest: await compute?.adapterDigest(),
      replicaDigest: replica && Buffer.from(replica.sha256).toString('hex'),
      privacy: this.state.privacy,
    };
  }

  private dispatch(event: WorkerEvent): void {
    for (const effect of step(this.state, event)) this.perform(effect);
  }

  private perform(effect: WorkerEffect): void {
    switch (effect.kind) {
      case 'connect':
        this.follow(this.connect());
        break;
      case 'send':
        this.stream?.send(effect.message);
        break;
      case 'hangUp':
        this.hangUp();
        break;
      case 'heartbeatEvery':
        clearInterval(this.heartbeat);
        this.heartbeat = setInterval(() => this.dispatch({ kind: 'heartbeat' }), effect.ms);
        break;
      case 'fetchSnapshot':
        this.follow(this.fetchSnapshot());
        break;
      case 'compute':
        this.follow(this.runTask(effect.task));
        break;
      case 'retryIn':
        this.retry = setTimeout(() => this.dispatch({ kind: 'retry' }), effect.ms);
        break;
      case 'keepSecret':
        this.options.identity?.keep(effect.secret);
        break;
      case 'report':
        this.options.onReport(effect.report);
        break;
      case 'finish':
        this.outcome.resolve(effect);
        break;
    }
  }

  /** What goes wrong in `work` ends the worker, unless it means that the way to the trainer broke, or that its run is not there now. */
  private follow(work: Promise<void>): void {
    const { session } = this.state;
    work.catch((error: unknown) => {
      // A trainer that was started again without its run directory is stopped and started right, once somebody is told.
      const isAway = error instanceof ConnectionLost || (error instanceof OtherRun && this.state.worker !== undefined);
      if (!isAway) {
        // Else the trainer would wait for it as long as a lease.
        this.stream?.send({ $case: 'leave', value: { reason: 'it failed' } });
        this.outcome.reject(error);
      } else if (session === this.state.session)
        this.dispatch({ kind: 'lost', atMs: performance.now(), reason: reasonOf(error), jitter: this.random() });
    });
  }

  private async connect(): Promise<void> {
    const terms = await this.prepare();
    if (this.state.phase !== 'connecting') return;
    const stream = this.connection.join();
    this.stream = stream;
    this.dispatch({ kind: 'opened', atMs: performance.now(), terms });
    while (this.stream === stream) {
      const message = stream.messages.take();
      if (message === undefined) await stream.messages.wait();
      else this.dispatch({ kind: 'message', atMs: performance.now(), message });
    }
  }

  /** Asks for the run config and loads model and kernels, once; a config that changed meanwhile ends the worker. */
  private async prepare(): Promise<RunTerms> {
    this.compute ??= this.startThread();
    const json = await this.connection.runConfig();
    if (this.config && this.config.json !== json) throw new OtherRun('the trainer now runs another run config');
    if (!this.config) {
      const parsed = parseRunConfig(json, `the trainer at ${this.options.trainer}`);
      await this.options.checkConfig(parsed);
      if (this.state.phase === 'over') throw new OperatingError(EXIT.drained, 'drained');
      const report = await this.compute.create({ config: parsed, ...this.options.compute });
      this.config = { json, parsed, computesOn: report.computesOn };
      this.options.onReport({ kind: 'ready', compute: report });
    }
    const { directions, maxStaleness } = ownLearning(this.config.parsed.learning, this.options.compute.settings);
    const isPrivate = this.options.compute.settings.privacy !== undefined;
    return {
      runConfigSha256: runConfigSha256(json),
      directions,
      maxStaleness,
      isPrivate,
      computesOn: this.config.computesOn,
    };
  }

  /** Begins to load ONNX Runtime, while the run config is on its way. */
  private startThread(): RemoteCompute {
    // Here, and not in its thread: what a thread sets does not reach the libraries.
    prepareCuda(this.options.compute.settings.precision === 'tf32');
    return startCompute();
  }

  private async fetchSnapshot(): Promise<void> {
    const { session } = this.state;
    const bytes = await this.connection.snapshot(this.hungUp.signal);
    if (session === this.state.session) this.dispatch({ kind: 'snapshot', bytes });
  }

  private async runTask(task: Task): Promise<void> {
    const begun = performance.now();
    const result = await perform(this.compute!, task);
    const { privacy } = this.options.compute.settings;
    // How long it took tells of the rows that were drawn.
    if (privacy && task.kind === 'measure')
      await delay(untilAnswer(performance.now() - begun, privacy.answerMs), undefined, { ref: false });
    this.dispatch({ kind: 'computed', result });
  }

  private hangUp(): void {
    clearInterval(this.heartbeat);
    this.stream?.end();
    this.stream = undefined;
    this.hungUp.abort();
    this.hungUp = new AbortController();
  }
}

const reasonOf = (error: Error): string =>
  error instanceof OtherRun ? `another run than this worker's is there: ${error.message}` : error.message;

async function perform(compute: RemoteCompute, task: Task): Promise<TaskResult> {
  switch (task.kind) {
    case 'readData':
      return { kind: 'readData', data: await compute.readData(task.worker, task.devRows, task.rounds) };
    case 'digest':
      return { kind: 'digest', digest: buffered(await compute.digest()) };
    case 'restore':
      return { kind: 'restore', digest: buffered(await compute.restore(task.bytes)) };
    case 'apply':
      return { kind: 'apply', round: await compute.apply(task.record) };
    case 'measure': {
      const { contribution, ...told } = await compute.measure(task.firstDirection);
      const gradientBytes = Buffer.from(contribution.gradientBytes);
      return { kind: 'measure', contribution: { ...contribution, gradientBytes }, ...told };
    }
    case 'evaluate':
      return { kind: 'evaluate', counts: await compute.evaluate(task.request) };
  }
}

/** Bytes from the compute thread arrive as a plain Uint8Array. */
const buffered = ({ round, sha256 }: ReplicaDigest): ReplicaDigest => ({ round, sha256: Buffer.from(sha256) });
