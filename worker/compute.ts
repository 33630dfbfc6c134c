/** All numbers of a worker: its model, data, replica and measurements. Runs in a thread of its own, since a forward pass blocks. */
import { checkRows, type Dataset, readDataset } from '../data/dataset.ts';
import { type DataOrder, dataOrder } from '../data/order.ts';
import { type Backend, ownedCopy } from '../kernels/backend.ts';
import { adapterDigest, applyRecord, initialReplica, type ReplicaState, replicaDigest } from '../kernels/replica.ts';
import { frozenPart, initialMatrices, layoutOf, learningRuleOf, trainedPart } from '../kernels/run-replica.ts';
import { selectBackend } from '../kernels/select-backend.ts';
import { decodeSnapshot } from '../kernels/snapshot.ts';
import { fingerprintBaseModel, openBaseModel } from '../model/base-model.ts';
import { createForward, type Forward } from '../model/runtime/forward.ts';
import { loadTokenizer, type Tokenizer } from '../model/tokenizer/tokenizer.ts';
import type { LinearModule } from '../proto/adapter.ts';
import type { EvaluationCounts, EvaluationRequest, Record, ReplicaDigest } from '../proto/gen/onebyte.ts';
import { EXIT, OperatingError, usageError } from '../proto/operating-error.ts';
import type { RunConfig } from '../proto/run-config.ts';
import { derivativesOf, ownLearning, type WorkerSettings } from '../settings/worker-settings.ts';
import type { DataReport, Measured } from './core/state.ts';
import { measureContribution } from './estimators/contribution.ts';
import type { EstimatorContext } from './estimators/estimator.ts';
import { stepLength } from './estimators/perturbed-losses.ts';
import { Scratch } from './estimators/scratch.ts';
import { completionLoss } from './objectives/completion-loss.ts';
import { PrivateShard } from './privacy/private-shard.ts';

export interface ComputeOptions {
  readonly config: RunConfig;
  readonly modelDirectory: string;
  readonly trainFiles: readonly string[];
  /** Needed where the run has a dev split. */
  readonly devFile: string | undefined;
  /** The file is this worker's own: all of it is its shard. */
  readonly ownData: boolean;
  readonly settings: WorkerSettings;
  readonly threads: number;
}

/** What is known once model and kernels are ready. */
export interface ComputeReport {
  /** Why these kernels. */
  readonly kernels: string;
  /** What runs the forward pass, and why. */
  readonly provider: string;
  /** The same in short, for the trainer: provider, device, precision. */
  readonly computesOn: string;
  readonly adapterElements: number;
}

/** The numeric half of a worker. Calls are made one at a time. */
export class Compute {
  readonly report: ComputeReport;
  private readonly options: ComputeOptions;
  private readonly tokenizer: Tokenizer;
  private readonly backend: Backend;
  private readonly forward: Forward;
  /** What the forward pass reads where B alone is trained. */
  private readonly frozenA: Float32Array | undefined;
  private replica: ReplicaState;
  private estimator: EstimatorContext | undefined;
  private train: { data: Dataset; order: DataOrder } | undefined;
  private dev: Dataset | undefined;
  /** Of a worker with a privacy budget: the rows of `train`. */
  private secret: PrivateShard | undefined;

  private constructor(
    options: ComputeOptions,
    tokenizer: Tokenizer,
    backend: Backend,
    forward: Forward,
    initial: { readonly theta: Float32Array; readonly frozenA: Float32Array | undefined },
    kernels: string,
  ) {
    this.options = options;
    this.tokenizer = tokenizer;
    this.backend = backend;
    this.forward = forward;
    this.frozenA = initial.frozenA;
    this.replica = initialReplica(learningRuleOf(options.config), ownedCopy(backend, initial.theta));
    const { place, reason } = forward.chosen;
    const computesOn = options.settings.quantize === 'int8' ? `${place}, int8 weights` : place;
    this.report = { kernels, provider: reason, computesOn, adapterElements: this.replica.theta.length };
  }

  /** Loads model and kernels. @throws OperatingError usage: wrong model, data or settings */
  static async create(options: ComputeOptions): Promise<Compute> {
    const { config, modelDirectory, settings, threads } = options;
    const learning = ownLearning(config.learning, settings);
    const derivatives = derivativesOf(learning, settings);
    for (const file of [...options.trainFiles, options.devFile]) if (file !== undefined) checkRows(file, config.data);
    const model = openBaseModel(modelDirectory);
    const fingerprint = await fingerprintBaseModel(model);
    if (fingerprint !== config.baseModelSha256)
      throw usageError(
        `model ${modelDirectory}: another base model than the trainer's (sha-256 ${fingerprint}, expected ${config.baseModelSha256})`,
      );
    refuseForeignModules(model.linearModules, config);
    // Its process starts while the provider is opened; what it fails with is heard below.
    const loading = loadTokenizer(modelDirectory, model.vocabularySize);
    loading.catch(() => {});
    const { backend, reason } = await selectBackend(settings.kernels, threads);
    const layout = layoutOf(config);
    // What the seed gives. A run that continues an adapter sends its matrices with every snapshot, and a new worker gets one.
    const matrices = initialMatrices(config, new Uint8Array());
    const initial = { theta: trainedPart(layout, matrices), frozenA: frozenPart(layout, matrices) };
    const adapter = { layout, frozenA: initial.frozenA };
    const forward = await createForward(model, adapter, {
      ...settings,
      ...derivatives,
      step: derivatives.tangents || derivatives.gradients ? undefined : stepLength({ learning }),
      longestRow: config.data.maxLength,
      threads,
    });
    return new Compute(options, await loading, backend, forward, initial, reason);
  }

  /**
   * Reads this worker's shard, once it has its number, and the dev split.
   * @param devRows of the trainer's dev split
   * @param rounds records after which the run is done: a privacy budget is to last so long
   * @throws OperatingError usage: wrong data, or another dev split than the trainer's
   */
  async readData(worker: number, devRows: number, rounds: number): Promise<DataReport> {
    const { config, settings, trainFiles, ownData } = this.options;
    const { shards } = config.data;
    const shard = worker % shards;
    const part = ownData ? { shard: 0, shards: 1 } : { shard, shards };
    const data = await readDataset(trainFiles, this.tokenizer, config.data, part);
    this.train = { data, order: dataOrder(config.seed, worker, data.examples.length) };
    const layout = layoutOf(config);
    const { backend, forward } = this;
    const scratch = this.estimator?.scratch ?? new Scratch(backend);
    const learning = ownLearning(config.learning, settings);
    this.estimator = { learning, rule: learningRuleOf(config), layout, backend, forward, scratch, worker };
    const { privacy } = settings;
    this.dev = devRows > 0 && !privacy ? await this.readDev(devRows) : undefined;
    this.tokenizer.close();
    this.secret?.close();
    const secretRows = data.examples.map(completionLoss.trainingRow);
    this.secret = privacy && new PrivateShard(privacy, { trainFiles, ...part, rounds }, secretRows);
    const { truncated, merged } = data;
    return { rows: data.examples.length, truncated, merged, budget: this.secret?.kept() };
  }

  private async readDev(rows: number): Promise<Dataset> {
    const { devFile, config } = this.options;
    if (devFile === undefined)
      throw usageError(`the trainer evaluates ${rows} rows of a dev split: name the same file with --dev`);
    const dev = await readDataset(devFile, this.tokenizer, config.data);
    if (dev.examples.length !== rows)
      throw usageError(
        `${devFile}: ${dev.examples.length} rows, the trainer's dev split has ${rows}: name the same file with --dev`,
      );
    return dev;
  }

  /** Replaces the replica by a snapshot's. */
  restore(snapshot: Uint8Array): ReplicaDigest {
    const given = this.options.config.initialAdapterSha256 === undefined ? 0 : this.frozenA?.length;
    const { theta, normaliser, frozenA } = decodeSnapshot(snapshot, this.replica.theta.length, given);
    this.replica.theta.set(theta);
    if (frozenA) this.frozenA!.set(frozenA);
    this.replica = { theta: this.replica.theta, normaliser, frozenA };
    return this.digest();
  }

  /** Applies the next record; a record that was applied before is passed over. */
  async apply(record: Record): Promise<number> {
    const { round } = this.replica.normaliser;
    if (record.round < round) return round;
    if (record.round > round)
      throw new OperatingError(EXIT.internal, `record ${record.round} came, record ${round} is missing`);
    this.replica = await applyRecord(this.replica, learningRuleOf(this.options.config), record, this.backend);
    return this.replica.normaliser.round;
  }

  /** Measures K directions from `firstDirection` on at the replica's θ. */
  async measure(firstDirection: number): Promise<Measured> {
    const { learning } = this.estimator!;
    const { round } = this.replica.normaliser;
    const { data, order } = this.train!;
    const place = { measuredRound: round, firstDirection };
    if (this.secret) {
      const { privacy, gradientBytes } = await this.secret.measure(this.estimator!, this.replica, firstDirection);
      return { contribution: { ...place, gradientBytes }, privacy, losses: undefined };
    }
    const position = round + firstDirection / learning.directions;
    const rows = order(position, learning.rows).map((i) => completionLoss.trainingRow(data.examples[i]!));
    const { gradientBytes, loss } = await measureContribution(this.estimator!, this.replica, firstDirection, rows);
    const tokens = rows.reduce((sum, { labels }) => sum + labels.length, 0);
    const losses = { lossSum: loss * rows.length, rows: rows.length, tokens };
    return { contribution: { ...place, gradientBytes }, privacy: undefined, losses };
  }

  /** Evaluates rows of the dev split at the replica's θ. */
  async evaluate({ firstRow, rows }: EvaluationRequest): Promise<EvaluationCounts> {
    const examples = (this.dev?.examples ?? []).slice(firstRow, firstRow + rows);
    if (examples.length < rows)
      throw new OperatingError(EXIT.refused, `the trainer asks for row ${firstRow + rows} of a dev split of fewer`);
    const results = await completionLoss.evaluate(this.forward, examples, this.replica.theta);
    return { round: this.replica.normaliser.round, firstRow, ...completionLoss.count(results) };
  }

  digest(): ReplicaDigest {
    return { round: this.replica.normaliser.round, sha256: replicaDigest(this.replica) };
  }

  /** sha-256 of θ, hex. */
  adapterDigest(): string {
    return adapterDigest(this.replica.theta);
  }

  async close(): Promise<void> {
    this.secret?.close();
    await this.forward.close();
    await this.backend.close();
  }
}

/** A trainer's config is believed as far as the model goes: else it decides what memory this process takes. */
function refuseForeignModules(linearModules: readonly LinearModule[], { adapter }: RunConfig): void {
  let next = 0;
  for (const { name, fanIn, fanOut } of adapter.modules) {
    const place = linearModules.findIndex(
      (linear, i) => i >= next && linear.name === name && linear.fanIn === fanIn && linear.fanOut === fanOut,
    );
    if (place < 0)
      throw new OperatingError(
        EXIT.refused,
        `the trainer's run config adapts ${name} [${fanOut}, ${fanIn}]: the model of this worker has no such layer, or the config names it twice or out of the model's order`,
      );
    next = place + 1;
  }
}
