/**
 * The trainer process: carries out what the core asks for, one event after the other.
 *
 * The room trainer/ keeps a run: core/ decides, store/ makes durable, transport/ speaks with workers, metrics/ and dashboard/ show. It knows
 * no model and no row of data.
 */
import { rm } from 'node:fs/promises';
import type { Backend } from '../kernels/backend.ts';
import { adapterDigest, moveReplica, type ReplicaState, replicaDigest } from '../kernels/replica.ts';
import { learningRuleOf } from '../kernels/run-replica.ts';
import { deferred } from '../platform/deferred.ts';
import type { Peer } from '../platform/listener.ts';
import type { WorkerMessage } from '../proto/gen/onebyte.ts';
import { MAX_GRADIENTS_PER_RECORD, SLOW_LINE_MS } from '../proto/limits.ts';
import { type ExitCode, usageError } from '../proto/operating-error.ts';
import { canonicalJson, type RunConfig, runConfigSha256 } from '../proto/run-config.ts';
import type { TrainerSettings } from '../settings/trainer-settings.ts';
import { groupAppends } from './core/group-commit.ts';
import { restoreTrainer, uncountable } from './core/restore.ts';
import type { Effect, Event, Report, StreamId, TrainerRules, TrainerState } from './core/state.ts';
import { step } from './core/step.ts';
import { EventQueue } from './event-queue.ts';
import { emptyHistory, type RunHistory } from './metrics/history.ts';
import { statusOf } from './metrics/status.ts';
import { isBest, writeCheckpoint } from './store/checkpoint.ts';
import { checkpointsOf, type OpenRun, openRun, roundLogFile } from './store/open-run.ts';
import { replayLog } from './store/replay.ts';
import { readRoundLog } from './store/round-log.ts';
import { type Service, type ServiceAccess, startService } from './transport/service.ts';
import { DRAIN_GRACE_MS, type ServiceLimits } from './transport/service-limits.ts';
import { sharedSnapshots } from './transport/shared-snapshot.ts';
import { eventOf } from './transport/worker-event.ts';

/** How often the core hears the time, ms. */
const TICK_MS = 25;

export interface TrainerOptions {
  readonly config: RunConfig;
  readonly settings: TrainerSettings;
  readonly rounds: number;
  readonly devRows: number;
  /** What adapter_config.json of checkpoints calls the base model. Default: nothing. */
  readonly baseModel?: string;
  /** The run directory. */
  readonly directory: string;
  readonly resume: boolean;
  /** All adapter matrices (float32, little endian) when the run continues an adapter; else empty. */
  readonly initialAdapter: Buffer;
  readonly backend: Backend;
  readonly access: ServiceAccess;
  /** Default: what the descriptors of this process allow. */
  readonly serviceLimits?: ServiceLimits;
  /** `wire`: socket bytes so far. */
  readonly onReport: (report: Report, wire: { up: number; down: number }) => void;
  /** What was observed of the run, for who asks how it stands; its caller keeps it. */
  readonly history?: RunHistory;
  readonly onListening: (address: string, resumedAt: number, tornBytes: number) => void;
  /** Told when this waits for another process that had the run. */
  readonly say?: (text: string) => void;
  /** Aborted: close the round, write a checkpoint, tell the workers, end with `drained`. */
  readonly drain: AbortSignal;
}

export interface TrainerResult {
  readonly exitCode: ExitCode;
  readonly text: string;
  readonly rounds: number;
  /** Live gradient bytes applied. */
  readonly gradients: number;
  /** Bytes of gradient payload received. */
  readonly payloadBytesUp: number;
  readonly wireBytesUp: number;
  readonly wireBytesDown: number;
  readonly adapterDigest: string;
  readonly replicaDigest: string;
  readonly checkpointDir: string | undefined;
  readonly roundLog: string;
}

/** Runs a trainer until the run is done, drained or failed. @throws OperatingError for what stops it otherwise */
export async function runTrainer(options: TrainerOptions): Promise<TrainerResult> {
  const { directory, config, initialAdapter, resume, backend, rounds, say = () => {}, drain } = options;
  const run = await openRun(directory, config, initialAdapter, resume, backend, say, drain);
  try {
    const { round } = run.replica.normaliser;
    if (round > rounds) throw usageError(`rounds ${rounds}: the run in ${directory} has ${round} already`);
    return await new Trainer(options, run).run();
  } finally {
    await run.log.close();
    run.lock.release();
  }
}

class Trainer {
  private readonly options: TrainerOptions;
  private readonly runConfig: string;
  private readonly state: TrainerState;
  private readonly open: OpenRun;
  private replica: ReplicaState;
  /** What the log gave when it was replayed last. */
  private replayed: ReplicaState | undefined;
  /** The replica that an open evaluation is about. */
  private evaluated: ReplicaState | undefined;
  private readonly encode = sharedSnapshots();
  private service: Service | undefined;
  private readonly queue = new EventQueue(
    (events) => this.process(events),
    (error) => this.outcome.reject(error),
  );
  private payloadBytesUp = 0;
  private checkpointDir: string | undefined;
  private readonly outcome = deferred<{ exitCode: ExitCode; text: string }>();

  constructor(options: TrainerOptions, open: OpenRun) {
    const { config, settings, rounds, devRows } = options;
    this.options = options;
    this.open = open;
    this.replica = open.replica;
    this.runConfig = canonicalJson(config);
    const rules: TrainerRules = {
      settings,
      learning: learningRuleOf(config),
      directions: config.learning.directions,
      gradientsPerRecord: MAX_GRADIENTS_PER_RECORD,
      rounds,
      devRows,
      runConfigSha256: runConfigSha256(this.runConfig),
      runSecret: open.runSecret,
      adapterElements: open.replica.theta.length,
      continuesAdapter: config.initialAdapterSha256 !== undefined,
    };
    this.state = restoreTrainer(rules, open.frames, open.replica, performance.now());
  }

  async run(): Promise<TrainerResult> {
    const { directory, settings, access, serviceLimits, drain, onListening } = this.options;
    await this.open.log.append([{ frame: { $case: 'epoch', value: { epoch: this.state.epoch } } }]);
    this.announceDigest();
    await this.mendBest();
    this.service = await startService(
      settings.listen,
      access,
      {
        onMessage: (stream, message, peer) => this.onMessage(stream, message, peer),
        onClosed: (stream) => this.queue.push({ kind: 'closed', atMs: performance.now(), stream }),
        snapshot: () => new Promise((resolve) => this.queue.push(async () => resolve(this.encode(this.replica)))),
        runConfig: () => this.runConfig,
        status: () => statusOf(this.state, this.options.history ?? emptyHistory()),
      },
      serviceLimits,
    ).catch(async (error) => {
      // Nobody has heard of a run that never listened: its log would keep the directory from the next one.
      if (this.open.frames.length === 0) await rm(roundLogFile(directory));
      throw error;
    });
    const ticker = setInterval(() => this.queue.push({ kind: 'tick', atMs: performance.now() }), TICK_MS);
    const unwatch = this.open.lock.watch((error) => this.outcome.reject(error));
    const onDrain = (): void => this.queue.push({ kind: 'drain', atMs: performance.now() });
    const over = new AbortController();
    try {
      onListening(this.service.address, this.replica.normaliser.round, this.open.tornBytes);
      for (const evaluation of uncountable(this.open.frames)) this.report({ kind: 'passedOver', ...evaluation });
      this.open.frames.length = 0;
      drain.addEventListener('abort', onDrain, { signal: over.signal });
      if (drain.aborted) onDrain();
      const { exitCode, text } = await this.outcome.promise;
      drain.addEventListener('abort', () => this.service!.close(DRAIN_GRACE_MS), { signal: over.signal });
      await this.service.close(drain.aborted ? DRAIN_GRACE_MS : SLOW_LINE_MS, (reason) =>
        this.report({ kind: 'waiting', reason }),
      );
      this.open.lock.check();
      return this.result(exitCode, text);
    } finally {
      clearInterval(ticker);
      unwatch();
      over.abort();
      await this.service.close(0);
    }
  }

  private result(exitCode: ExitCode, text: string): TrainerResult {
    const { up, down } = this.service!.wireBytes();
    return {
      exitCode,
      text,
      rounds: this.replica.normaliser.round,
      gradients: this.state.gradients,
      payloadBytesUp: this.payloadBytesUp,
      wireBytesUp: up,
      wireBytesDown: down,
      adapterDigest: adapterDigest(this.replica.theta),
      replicaDigest: replicaDigest(this.replica).toString('hex'),
      checkpointDir: this.checkpointDir,
      roundLog: roundLogFile(this.options.directory),
    };
  }

  private onMessage(stream: StreamId, { message }: WorkerMessage, peer: Peer): void {
    if (message?.$case === 'contribution') this.payloadBytesUp += message.value.gradientBytes.length;
    const event = eventOf(stream, peer, message, performance.now());
    if (event) this.queue.push(event);
    else this.service?.refuse(stream, 'invalid', 'a message without content');
  }

  /** Takes events to the core, and carries out what they ask for with one fsync. */
  private async process(events: readonly Event[]): Promise<void> {
    const effects = events.flatMap((each) => step(this.state, each));
    await this.carryOut(effects);
    for (const each of events) if ('stream' in each) this.service?.handled(each.stream);
  }

  private async carryOut(effects: readonly Effect[]): Promise<void> {
    for (const effect of groupAppends(effects)) await this.perform(effect);
  }

  private async perform(effect: Effect): Promise<void> {
    switch (effect.kind) {
      case 'append':
        this.open.lock.check();
        await this.open.log.append(effect.frames);
        break;
      case 'send':
        this.service?.send(effect.stream, effect.message);
        break;
      case 'broadcast':
        this.service?.broadcast(effect.message);
        break;
      case 'refuse':
        this.service?.refuse(effect.stream, effect.refusal, effect.text);
        break;
      case 'apply':
        await this.apply(effect);
        break;
      case 'replayLog':
        this.queue.push(() => this.replay(effect.round));
        break;
      case 'takeReplayed':
        this.replica = this.replayed!;
        this.announceDigest();
        break;
      case 'keepAdapter':
        this.evaluated = { ...this.replica, theta: this.replica.theta.slice() };
        break;
      case 'checkpoint':
        await this.checkpoint(effect.best && this.evaluated ? this.evaluated : this.replica, effect.best);
        break;
      case 'report':
        this.report(effect.report);
        break;
      case 'finish':
        this.outcome.resolve(effect);
        break;
    }
  }

  /** Replays the log once all that was asked before it is carried out, and hands the core what it gives. */
  private async replay(round: number): Promise<void> {
    const { backend, directory } = this.options;
    const log = await readRoundLog(roundLogFile(directory));
    const sha256 = replicaDigest((await replayLog(log, backend, round)).replica);
    const { replica } = await replayLog(log, backend);
    this.replayed = replica;
    const { normaliser } = replica;
    await this.carryOut(step(this.state, { kind: 'logReplayed', atMs: performance.now(), round, sha256, normaliser }));
  }

  private report(report: Report): void {
    this.options.onReport(report, this.service!.wireBytes());
  }

  private async apply({ absorbed, digest }: Extract<Effect, { kind: 'apply' }>): Promise<void> {
    this.replica = await moveReplica(this.replica, this.state.rules.learning, absorbed, this.options.backend);
    if (digest) this.announceDigest();
  }

  private announceDigest(): void {
    const { round } = this.replica.normaliser;
    step(this.state, { kind: 'ownDigest', round, sha256: replicaDigest(this.replica) });
  }

  private async checkpoint(replica: ReplicaState, best: boolean): Promise<void> {
    const { config, baseModel = '', directory, settings } = this.options;
    const content = {
      config: { ...config, adapter: { ...config.adapter, baseModel } },
      replica,
      matrices: this.open.matrices,
    };
    const written = await writeCheckpoint(checkpointsOf(directory), content, settings.keepCheckpoints, best);
    if (!best) this.checkpointDir = written;
  }

  /** An evaluation is in the log before its adapter has a checkpoint: a trainer killed between the two left the best of before. */
  private async mendBest(): Promise<void> {
    const { backend, directory } = this.options;
    const { best } = this.state.progress;
    if (!best || (await isBest(checkpointsOf(directory), best.round))) return;
    const log = await readRoundLog(roundLogFile(directory));
    await this.checkpoint((await replayLog(log, backend, best.round)).replica, true);
  }
}
