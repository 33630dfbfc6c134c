/** What a LoRA adapter is made of, as it travels in the run config and stands in the round log's header. */
import { z } from 'zod';
import { MAX_ADAPTER_BYTES } from './limits.ts';

const count = z
  .int()
  .min(1)
  .max(2 ** 31 - 1);
const name = z.string().min(1).max(512);

/** A linear layer that can be adapted: y = W x, W `[fanOut, fanIn]`; a fused projection is one layer. */
export interface LinearModule {
  /** The layer's path in the base model, as PEFT names it: `model.layers.0.self_attn.q_proj`. */
  readonly name: string;
  readonly fanIn: number;
  readonly fanOut: number;
}

/** One adapted linear layer: y += scale · B(A x), A `[rank, fanIn]`, B `[fanOut, rank]`. */
export const AdapterModule = z.strictObject({
  /** The layer's path in the base model, as PEFT names it: `model.layers.0.self_attn.q_proj`. */
  name,
  rank: count,
  fanIn: count,
  fanOut: count,
  /** alpha / rank, or alpha / √rank with rsLoRA. */
  scale: z.number(),
});
export type AdapterModule = z.infer<typeof AdapterModule>;

/** Float32 elements of A and B of all modules. */
export const adapterElements = (modules: readonly AdapterModule[]): number =>
  modules.reduce((sum, { rank, fanIn, fanOut }) => sum + rank * (fanIn + fanOut), 0);

/** An adapter without its numbers: enough to lay out θ and to write a PEFT directory where the base model is not at hand. */
export const AdapterDescription = z.strictObject({
  /**
   * What adapter_config.json calls the base model: a directory or a Hub name. Empty in a run config: what a machine calls it is no
   * peer's business and decides nothing. Older round logs hold a directory.
   */
  baseModel: z.string().max(4096),
  /** The rank of modules that no `rankPattern` matches. */
  rank: count,
  /** The alpha of modules that no `alphaPattern` matches. */
  alpha: z.number(),
  /** scale = alpha / √rank. */
  useRslora: z.boolean(),
  /** A list of name endings, or one regular expression for whole names: PEFT's target_modules. */
  targetModules: z.union([z.string().min(1).max(65_536), z.array(name).min(1).max(65_536)]),
  /** PEFT's rank_pattern: pattern of the end of a name to rank. */
  rankPattern: z.record(name, count),
  alphaPattern: z.record(name, z.number()),
  /** The base stores its weights `[fanIn, fanOut]` (GPT-2's Conv1D). A and B are never transposed. */
  fanInFanOut: z.boolean(),
  /** B: A stays as it is and is no part of θ (LoRA-FA). */
  train: z.enum(['both', 'B']),
  /** In θ's order. Follows from the fields above and the base model; stated so that nobody needs the base model. */
  modules: z
    .array(AdapterModule)
    .min(1)
    .max(65_536)
    .refine(
      (modules) => 4 * adapterElements(modules) <= MAX_ADAPTER_BYTES,
      `an adapter has at most ${MAX_ADAPTER_BYTES / 4} elements`,
    ),
});
export type AdapterDescription = z.infer<typeof AdapterDescription>;
