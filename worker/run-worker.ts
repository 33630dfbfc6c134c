/** The worker process: joins the trainer, measures contributions, applies records, and comes back when the way breaks. */
import { setTimeout as sleep } from 'node:timers/promises';
import seedrandom from 'seedrandom';
import { type Notice, Notice_Kind, type TrainerMessage, type Welcome } from '../proto/gen/onebyte.ts';
import { DIGEST_EVERY, MAX_CONTRIBUTIONS_PER_ROUND } from '../proto/limits.ts';
import { EXIT, type ExitCode, OperatingError } from '../proto/operating-error.ts';
import { parseRunConfig, type RunConfig, runConfigSha256 } from '../proto/run-config.ts';
import type { ComputeOptions, ComputeReport, DataReport } from './compute.ts';
import { type RemoteCompute, startCompute } from './remote-compute.ts';
import {
  type ClientAccess,
  ConnectionLost,
  connectTrainer,
  type TrainerConnection,
  type TrainerStream,
} from './trainer-client.ts';

/** Waits between attempts to reach the trainer, ms: doubled each time, with a seeded jitter of half. */
const FIRST_BACKOFF_MS = 250;
const LAST_BACKOFF_MS = 10_000;

export interface WorkerOptions {
  readonly trainer: string;
  readonly access: ClientAccess;
  /** Unique in the run; a worker that starts again under its name gets its number back. */
  readonly name: string;
  readonly requestedWorker: number | undefined;
  /** Checks the trainer's run config against the worker's own run file; throws OperatingError. */
  readonly checkConfig: (config: RunConfig) => Promise<void>;
  readonly compute: Omit<ComputeOptions, 'config'>;
  readonly onReport: (report: WorkerReport) => void;
  /** Aborted: leave the run and end with `drained`. */
  readonly drain: AbortSignal;
}

export type WorkerReport =
  | { kind: 'ready'; compute: ComputeReport }
  | { kind: 'joined'; worker: number; round: number; data: DataReport }
  | { kind: 'snapshot'; round: number; bytes: number }
  | { kind: 'round'; round: number }
  | { kind: 'late'; text: string }
  | { kind: 'retrying'; reason: string; waitMs: number };

export interface WorkerResult {
  readonly exitCode: ExitCode;
  readonly text: string;
  readonly worker: number | undefined;
  readonly rounds: number;
  readonly adapterDigest: string | undefined;
  readonly replicaDigest: string | undefined;
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

/** Why a session ended in an orderly way. */
class SessionOver extends Error {
  readonly exitCode: ExitCode;
  constructor(exitCode: ExitCode, text: string) {
    super(text);
    this.exitCode = exitCode;
  }
}

class RunningWorker {
  private readonly options: WorkerOptions;
  private readonly connection: TrainerConnection;
  private readonly random: () => number;
  private compute: RemoteCompute | undefined;
  private config: { readonly json: string; readonly parsed: RunConfig } | undefined;
  private worker: number | undefined;
  private resumeSecret: Buffer = Buffer.alloc(0);
  /** Records applied. */
  private round = 0;
  /** First direction of the next contribution of this round. */
  private nextDirection = 0;
  private lastContactMs = performance.now();

  constructor(options: WorkerOptions, connection: TrainerConnection) {
    this.options = options;
    this.connection = connection;
    this.random = seedrandom(options.name);
  }

  async run(): Promise<WorkerResult> {
    let backoffMs = FIRST_BACKOFF_MS;
    for (;;) {
      const contactBefore = this.lastContactMs;
      try {
        await this.session();
      } catch (error) {
        if (error instanceof SessionOver) return this.result(error.exitCode, error.message);
        if (!(error instanceof ConnectionLost)) throw error;
        if (this.options.drain.aborted) return this.result(EXIT.drained, 'left before the run was done');
        if (this.lastContactMs > contactBefore) backoffMs = FIRST_BACKOFF_MS;
        await this.backOff(error.message, backoffMs);
        backoffMs = Math.min(LAST_BACKOFF_MS, backoffMs * 2);
      }
    }
  }

  async stop(): Promise<void> {
    await this.compute?.terminate();
  }

  private async result(exitCode: ExitCode, text: string): Promise<WorkerResult> {
    const replica = await this.compute?.digest();
    return {
      exitCode,
      text,
      worker: this.worker,
      rounds: replica?.round ?? 0,
      adapterDigest: await this.compute?.adapterDigest(),
      replicaDigest: replica && Buffer.from(replica.sha256).toString('hex'),
    };
  }

  private async backOff(reason: string, backoffMs: number): Promise<void> {
    const { compute, trainer, drain, onReport } = this.options;
    const silentMs = performance.now() - this.lastContactMs;
    if (silentMs > compute.settings.giveUpMs)
      throw new OperatingError(
        EXIT.trainerUnreachable,
        `trainer at ${trainer} not reached for ${Math.round(silentMs / 1000)} s (${reason}). Is it running, and is the address right?`,
      );
    const waitMs = Math.round(backoffMs * (0.5 + this.random() / 2));
    onReport({ kind: 'retrying', reason, waitMs });
    await sleep(waitMs, undefined, { signal: drain }).catch(() => {});
  }

  /** One stream from its hello to its end. Always throws: SessionOver, ConnectionLost or an error. */
  private async session(): Promise<never> {
    const compute = await this.prepare();
    const stream = this.connection.join();
    const onDrain = (): void => {
      stream.send({ $case: 'leave', value: { reason: 'drained' } });
      stream.end();
      stream.inbox.end(new SessionOver(EXIT.drained, 'left before the run was done'));
    };
    let heartbeat: NodeJS.Timeout | undefined;
    try {
      const welcome = await this.greet(stream, compute);
      heartbeat = setInterval(() => stream.send({ $case: 'heartbeat', value: {} }), welcome.heartbeatMs);
      this.options.drain.addEventListener('abort', onDrain, { once: true });
      if (this.options.drain.aborted) onDrain();
      await this.catchUp(stream, compute, welcome.round);
      return await this.work(stream, compute, welcome.rounds);
    } finally {
      clearInterval(heartbeat);
      this.options.drain.removeEventListener('abort', onDrain);
      stream.end();
    }
  }

  /** Asks for the run config and loads model and kernels, once; a config that changed meanwhile ends the worker. */
  private async prepare(): Promise<RemoteCompute> {
    if (this.options.drain.aborted) throw new SessionOver(EXIT.drained, 'left before the run was done');
    const json = await this.connection.runConfig();
    this.lastContactMs = performance.now();
    if (this.compute && this.config?.json === json) return this.compute;
    if (this.compute) throw new OperatingError(EXIT.refused, 'the trainer now runs another run config');
    const parsed = parseRunConfig(json, `the trainer at ${this.options.trainer}`);
    await this.options.checkConfig(parsed);
    this.config = { json, parsed };
    this.compute = await startCompute({ config: parsed, ...this.options.compute });
    this.options.onReport({ kind: 'ready', compute: this.compute.report });
    return this.compute;
  }

  private async greet(stream: TrainerStream, compute: RemoteCompute): Promise<Welcome> {
    const { name, requestedWorker, onReport } = this.options;
    const replica = this.worker === undefined ? undefined : await this.replicaDigest(compute);
    stream.send({
      $case: 'hello',
      value: {
        name,
        requestedWorker,
        resumeSecret: this.resumeSecret,
        replica,
        runConfigSha256: runConfigSha256(this.config!.json),
      },
    });
    const { message } = await nextMessage(stream);
    this.lastContactMs = performance.now();
    if (message?.$case !== 'welcome')
      throw new OperatingError(EXIT.internal, `the trainer's first message is ${message?.$case}, expected a welcome`);
    const welcome = message.value;
    this.resumeSecret = welcome.resumeSecret;
    if (this.worker !== welcome.worker) {
      this.worker = welcome.worker;
      const data = await compute.join(welcome.worker);
      onReport({ kind: 'joined', worker: welcome.worker, round: welcome.round, data });
    }
    return welcome;
  }

  private async replicaDigest(compute: RemoteCompute): Promise<{ round: number; sha256: Buffer }> {
    const { round, sha256 } = await compute.digest();
    return { round, sha256: Buffer.from(sha256) };
  }

  /** Brings the replica to the trainer's round and says so. Records that come meanwhile wait in the inbox. */
  private async catchUp(stream: TrainerStream, compute: RemoteCompute, round: number): Promise<void> {
    const continues = this.config!.parsed.initialAdapterSha256 !== undefined;
    if (this.round !== round || (round === 0 && continues)) {
      const bytes = await this.connection.snapshot();
      ({ round: this.round } = await compute.restore(bytes));
      this.options.onReport({ kind: 'snapshot', round: this.round, bytes: bytes.length });
    }
    this.nextDirection = 0;
    stream.send({ $case: 'digest', value: await this.replicaDigest(compute) });
  }

  private async work(stream: TrainerStream, compute: RemoteCompute, rounds: number): Promise<never> {
    const { learning } = this.config!.parsed;
    const contributions = learning.maxStaleness > 0 ? MAX_CONTRIBUTIONS_PER_ROUND : 1;
    for (;;) {
      for (let next = stream.inbox.take(); next; next = stream.inbox.take())
        await this.handle(next, stream, compute, rounds);
      if (this.round < rounds && this.nextDirection < contributions * learning.directions) {
        const { gradientBytes, ...place } = await compute.measure(this.nextDirection);
        stream.send({ $case: 'contribution', value: { ...place, gradientBytes: Buffer.from(gradientBytes) } });
        this.nextDirection += learning.directions;
      } else await stream.inbox.wait();
    }
  }

  private async handle(
    { message }: TrainerMessage,
    stream: TrainerStream,
    compute: RemoteCompute,
    rounds: number,
  ): Promise<void> {
    this.lastContactMs = performance.now();
    if (message?.$case === 'record') {
      this.round = await compute.apply(message.value);
      this.nextDirection = 0;
      this.options.onReport({ kind: 'round', round: this.round });
      if (this.round % DIGEST_EVERY === 0 || this.round === rounds)
        stream.send({ $case: 'digest', value: await this.replicaDigest(compute) });
    } else if (message?.$case === 'evaluate') {
      stream.send({ $case: 'evaluation', value: await compute.evaluate(message.value) });
    } else if (message?.$case === 'notice') {
      await this.heed(message.value, stream, compute);
    }
  }

  private async heed({ kind, text }: Notice, stream: TrainerStream, compute: RemoteCompute): Promise<void> {
    switch (kind) {
      case Notice_Kind.RUN_DONE:
        throw new SessionOver(EXIT.done, text);
      case Notice_Kind.RUN_FAILED:
        throw new OperatingError(EXIT.diverged, `the run stopped: ${text}`);
      case Notice_Kind.TRAINER_DRAINS:
        throw new ConnectionLost(text);
      case Notice_Kind.CATCH_UP:
        this.round = -1;
        return this.catchUp(stream, compute, 0);
      default:
        return this.options.onReport({ kind: 'late', text });
    }
  }
}

/** The first message of a stream. */
async function nextMessage(stream: TrainerStream): Promise<TrainerMessage> {
  for (;;) {
    const message = stream.inbox.take();
    if (message) return message;
    await stream.inbox.wait();
  }
}
