/** Runs in one process for the benchmarks of learning: real model, data, kernels and learning rule; no network, no round log. */

import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type Dataset, readDataset } from '../data/dataset.ts';
import { dataOrder } from '../data/order.ts';
import { type Backend, ownedCopy } from '../kernels/backend.ts';
import { exponentInForce, type LearningRule } from '../kernels/learning-rule.ts';
import { initialReplica, type ReplicaState } from '../kernels/replica.ts';
import { frozenPart, initialMatrices, layoutOf, learningRuleOf, trainedPart } from '../kernels/run-replica.ts';
import { selectBackend } from '../kernels/select-backend.ts';
import { type BaseModel, fingerprintBaseModel, openBaseModel } from '../model/base-model.ts';
import type { Precision } from '../model/graph/precision.ts';
import { createForward, type Forward } from '../model/runtime/forward.ts';
import type { TokenRow } from '../model/token-row.ts';
import { loadTokenizer, type Tokenizer } from '../model/tokenizer/tokenizer.ts';
import { newAdapter } from '../processes/prepare-run.ts';
import { figuresOf } from '../proto/evaluation.ts';
import type { Record } from '../proto/gen/onebyte.ts';
import { type RecordEntry, recordOf } from '../proto/record.ts';
import { Learning, parseRunConfig, type RunConfig } from '../proto/run-config.ts';
import { derivativesOf } from '../settings/worker-settings.ts';
import type { EstimatorContext } from '../worker/estimators/estimator.ts';
import { Scratch } from '../worker/estimators/scratch.ts';
import { completionLoss } from '../worker/objectives/completion-loss.ts';

export type AdapterChoice = Parameters<typeof newAdapter>[1] & object;

export interface TrialSettings {
  readonly seed: number;
  readonly workers: number;
  readonly learning: Partial<Learning>;
  /** As in a run file; default: its defaults. */
  readonly adapter?: AdapterChoice;
  readonly quantize?: 'none' | 'int8';
  /** How products with base weights are rounded. Default: float32. */
  readonly precision?: Precision;
  /** For the estimator `forward`. Default float32. */
  readonly tangents?: 'float32' | 'int8' | undefined;
}

/** A run that is about to begin: N workers that share one replica. */
export interface Trial {
  readonly rule: LearningRule;
  /** The replica that round 0 starts from. */
  readonly replica: ReplicaState;
  readonly workers: readonly {
    readonly context: EstimatorContext;
    /** Its minibatch at a round. */
    rows(round: number): TokenRow[];
    /** All of its rows. */
    readonly shard: readonly TokenRow[];
  }[];
  evaluate(theta: Float32Array, data: Dataset): Promise<{ loss: number; accuracy: number | undefined }>;
}

export class Lab {
  readonly backend: Backend;
  private readonly example: string;
  private readonly model: BaseModel;
  private readonly tokenizer: Tokenizer;
  private readonly fingerprint: string;
  private readonly threads: number;
  /** By how it measures, and by the seed where A stays: it is a part of the forward pass then. */
  private readonly forwards = new Map<string, Promise<Forward>>();

  private constructor(
    example: string,
    model: BaseModel,
    tokenizer: Tokenizer,
    fingerprint: string,
    backend: Backend,
    threads: number,
  ) {
    this.example = example;
    this.model = model;
    this.tokenizer = tokenizer;
    this.fingerprint = fingerprint;
    this.backend = backend;
    this.threads = threads;
  }

  /** @param example directory with model/ and the data files */
  static async open(example: string): Promise<Lab> {
    const model = openBaseModel(join(example, 'model'));
    const threads = availableParallelism();
    const { backend } = await selectBackend('auto', threads);
    const tokenizer = await loadTokenizer(model.directory, model.vocabularySize);
    return new Lab(example, model, tokenizer, await fingerprintBaseModel(model), backend, threads);
  }

  async close(): Promise<void> {
    this.tokenizer.close();
    for (const forward of this.forwards.values()) await (await forward).close();
    await this.backend.close();
  }

  /** @param name file in the example's directory */
  read(name: string, shard?: { shard: number; shards: number }): Promise<Dataset> {
    return readDataset(join(this.example, name), this.tokenizer, { maxLength: 128, appendEos: false }, shard);
  }

  async begin({ seed, workers, learning, adapter = {}, quantize = 'none', ...how }: TrialSettings): Promise<Trial> {
    const config = this.config(seed, workers, learning, adapter);
    const derivatives = derivativesOf(config.learning, { tangentPrecision: how.tangents, quantize });
    const [layout, rule] = [layoutOf(config), learningRuleOf(config)];
    const { precision = 'float32' } = how;
    const options = { provider: 'cpu', threads: this.threads, quantize, precision, ...derivatives } as const;
    const frozenBy = adapter.train === 'B' ? seed : '';
    const key = `${JSON.stringify(adapter)} ${frozenBy} ${quantize} ${precision} ${JSON.stringify(derivatives)}`;
    const matrices = initialMatrices(config, Buffer.alloc(0));
    if (!this.forwards.has(key))
      this.forwards.set(key, createForward(this.model, { layout, frozenA: frozenPart(layout, matrices) }, options));
    const forward = await this.forwards.get(key)!;
    const { backend } = this;
    const owned = ownedCopy(backend, trainedPart(layout, matrices));
    const common = { learning: config.learning, rule, layout, backend, forward, scratch: new Scratch(backend) };
    const shards: Dataset[] = [];
    for (let shard = 0; shard < workers; shard++)
      shards.push(await this.read('train.jsonl', { shard, shards: workers }));
    return {
      rule,
      replica: initialReplica(rule, owned),
      workers: shards.map(({ examples }, worker) => {
        const order = dataOrder(seed, worker, examples.length);
        const shard = examples.map(completionLoss.trainingRow);
        const rows = (round: number): TokenRow[] => order(round, config.learning.rows).map((i) => shard[i]!);
        return { context: { ...common, worker }, rows, shard };
      }),
      async evaluate(theta, { examples }) {
        const results = await completionLoss.evaluate(forward, examples, theta);
        const { loss = Number.NaN, accuracy } = figuresOf(completionLoss.count(results));
        return { loss, accuracy };
      },
    };
  }

  private config(seed: number, shards: number, learning: Partial<Learning>, adapter: AdapterChoice): RunConfig {
    return parseRunConfig(
      JSON.stringify({
        seed,
        learning: { decayRounds: 0, ...Learning.parse(learning) },
        data: { maxLength: 128, shards },
        adapter: newAdapter(this.model, adapter),
        baseModelSha256: this.fingerprint,
      }),
      'the benchmark',
    );
  }
}

/** The record of the replica's open round. @param entries sorted by measured round, worker, first direction */
export const nextRecord = ({ normaliser }: ReplicaState, entries: readonly RecordEntry[]): Record =>
  recordOf(normaliser.round, exponentInForce(normaliser), entries);
