/** Continues rows token by token: the trunk reads each token once, since keys and values of those before it are kept. */
import assert from 'node:assert/strict';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import type { BaseModel } from '../base-model.ts';
import { headGraph } from '../graph/head.ts';
import { cacheInputs, readOutput } from '../graph/model-graph.ts';
import { adapterInput, trunkGraph } from '../graph/trunk.ts';
import { int8Weights } from '../int8-weights.ts';
import { type ForwardAdapter, frozenFeeds, trainedFeeds } from './adapter-feeds.ts';
import type { ChosenProvider } from './choose-provider.ts';
import type { ForwardOptions } from './forward.ts';
import { sessionFor } from './forward-session.ts';
import { type GrowingRow, packNext } from './growing-row.ts';
import { turnsAnewAt } from './rope.ts';
import { explainLoss } from './self-check.ts';
import { createSession } from './session.ts';

/** The next token of row `row`, by its logits `[V]`, which are not kept; undefined ends the row. */
export type Choose = (row: number, logits: Float32Array) => Promise<number | undefined>;

export interface Continuation {
  /**
   * Reads every prompt (ids, at least one and no more than the model reaches), then goes on with all rows at once, a token each,
   * until `choose` has ended them or they are as long as the model reaches.
   */
  continueRows(prompts: readonly (readonly number[])[], choose: Choose): Promise<void>;
  close(): Promise<void>;
}

/** Tokens of a prompt that are read at once: scores are as many times the tokens before them. */
const MAX_READ = 256;

type Options = Pick<ForwardOptions, 'provider' | 'threads' | 'quantize' | 'precision' | 'device'>;

/**
 * @param theta `[d]` of the adapter's layout; read where it lies
 * @throws OperatingError (usage) as `createForward`
 */
export async function createContinuation(
  model: BaseModel,
  adapter: (ForwardAdapter & { readonly theta: Float32Array }) | undefined,
  options: Options,
): Promise<Continuation> {
  const { chosen, session } = await sessionFor(model, options);
  const int8 = options.quantize === 'int8' ? int8Weights(model) : undefined;
  const head = await createSession(headGraph(model, 'logits', int8), session, { arena: false, shared: false });
  const trunk = await createSession(trunkGraph(model, adapter?.layout, { int8, cached: true }), session, {
    arena: true,
    shared: false,
  });
  const adapterFeeds = adapter && {
    ...trainedFeeds(adapter.layout, adapterInput, adapter.theta, { copies: 1, first: 0, count: 1 }),
    ...frozenFeeds(adapter),
  };
  return {
    continueRows: (prompts, choose) =>
      new Rows(model, { ...chosen, trunk, head, adapterFeeds }, prompts).finish(choose),
    async close() {
      for (const session of [trunk, head]) await session.release();
    },
  };
}

interface Sessions extends Pick<ChosenProvider, 'precision'> {
  readonly trunk: InferenceSession;
  readonly head: InferenceSession;
  readonly adapterFeeds: Readonly<Record<string, Tensor>> | undefined;
}

interface Row extends GrowingRow {
  readonly index: number;
  readonly ids: number[];
  read: number[];
}

/** Prompts that are being continued, and the cache of their tokens. */
class Rows {
  private readonly model: BaseModel;
  private readonly sessions: Sessions;
  private readonly cache: Cache[];
  /** Tokens in the cache, those of rows that have ended included. */
  private past = 0;
  private going: readonly Row[];
  /** Rows of so many tokens are read anew. */
  private readonly anewAt: ReadonlySet<number>;

  constructor(model: BaseModel, sessions: Sessions, prompts: readonly (readonly number[])[]) {
    const { layers, ropes } = model.architecture;
    this.model = model;
    this.sessions = sessions;
    this.anewAt = new Set(ropes.flatMap((rope) => turnsAnewAt(rope) ?? []));
    this.going = prompts.map((ids, index) => ({ index, ids: [...ids], read: [] }));
    for (const { ids } of this.going)
      assert(ids.length > 0 && ids.length <= model.maxPositions, `a prompt of ${ids.length} tokens`);
    this.cache = layers.flatMap(({ attention }) => {
      const { key, value, size } = cacheInputs(attention.inner);
      return [new Cache(key, size), new Cache(value, size)];
    });
  }

  async finish(choose: Choose): Promise<void> {
    while (this.going.length > 0) {
      // A prompt is read alone, piece by piece; rows whose prompts were read wait for the others and go on together.
      const behind = this.going.find(({ ids, read }) => ids.length - read.length > 1);
      const rows = behind === undefined ? this.going : [behind];
      const logits = await this.read(rows);
      const ended = new Set<Row>();
      for (const [i, row] of rows.entries()) {
        if (row.read.length < row.ids.length) continue;
        const id = await choose(
          row.index,
          logits.subarray(i * this.model.vocabularySize).subarray(0, this.model.vocabularySize),
        );
        if (id === undefined || row.ids.push(id) > this.model.maxPositions) ended.add(row);
        else if (this.anewAt.has(row.ids.length)) row.read = [];
      }
      this.going = this.going.filter((row) => !ended.has(row));
    }
  }

  /** The next tokens of `rows`, at most a piece of each: logits `[rows, V]` behind the last one read. */
  private async read(rows: readonly Row[]): Promise<Float32Array> {
    const { trunk, head, adapterFeeds, precision } = this.sessions;
    const counts = rows.map(({ ids, read }) => Math.min(MAX_READ, ids.length - read.length));
    const feeds = { ...packNext(rows, counts, this.past, this.model.architecture), ...adapterFeeds };
    for (const cache of this.cache) feeds[cache.input] = cache.tensor();
    const { hidden, ...read } = await trunk.run(feeds);
    for (const cache of this.cache) cache.append(read[readOutput(cache.input)]!.data as Float32Array);
    rows.forEach((row, i) => {
      for (let token = 0; token < counts[i]!; token++) row.read.push(this.past++);
    });
    const flat = new Tensor('float32', hidden!.data as Float32Array, hidden!.dims.slice(1));
    const logits = (await head.run({ hidden: flat })).logits!.data as Float32Array;
    if (!Number.isFinite(logits[0])) throw explainLoss(this.model, logits[0]!, precision);
    return logits;
  }
}

/** Keys or values of one layer, `[P, size]`, with room for more. */
class Cache {
  readonly input: string;
  private readonly size: number;
  private elements = new Float32Array();
  private used = 0;

  constructor(input: string, size: number) {
    this.input = input;
    this.size = size;
  }

  tensor(): Tensor {
    return new Tensor('float32', this.elements.subarray(0, this.used), [1, this.used / this.size, this.size]);
  }

  append(values: Float32Array): void {
    const end = this.used + values.length;
    if (end > this.elements.length) {
      const larger = new Float32Array(2 * end);
      larger.set(this.elements.subarray(0, this.used));
      this.elements = larger;
    }
    this.elements.set(values, this.used);
    this.used = end;
  }
}
