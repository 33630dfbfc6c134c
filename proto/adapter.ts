/** What a LoRA adapter is made of, as it travels in the welcome and stands in the round log's header. */
import { z } from 'zod';

const count = z
  .int()
  .min(1)
  .max(2 ** 31 - 1);

/** One adapted linear layer: y += scale · B(A x), A `[rank, fanIn]`, B `[fanOut, rank]`. */
export const AdapterModule = z.strictObject({
  /** The layer's path in the base model, as PEFT names it: `model.layers.0.self_attn.q_proj`. */
  name: z.string().min(1).max(512),
  rank: count,
  fanIn: count,
  fanOut: count,
  /** alpha / rank, or alpha / √rank with rsLoRA. */
  scale: z.number(),
});
export type AdapterModule = z.infer<typeof AdapterModule>;
