/**
 * What a family says about one model: a plain description, from which the graph, the list of tensors and the list of
 * adaptable layers all follow. Names are those of the transformers modules, so they are PEFT's too.
 */

/** y = x·Wᵀ + bias. The weight is the tensor `<name>.weight`, the bias `<name>.bias`. */
export interface Linear {
  readonly name: string;
  readonly fanIn: number;
  readonly fanOut: number;
  readonly bias: boolean;
  /** How the weight is stored: `[fanOut, fanIn]` (nn.Linear) or `[fanIn, fanOut]` (Conv1D of GPT-2). */
  readonly stored: 'out-in' | 'in-out';
}

export interface Normalization {
  readonly name: string;
  /** `rms`: x / √(mean x² + ε) · w. `layer`: (x − mean) / √(var + ε) · w + b. */
  readonly kind: 'rms' | 'layer';
  readonly size: number;
  readonly epsilon: number;
  /** Gemma stores w − 1. */
  readonly unitOffset: boolean;
  /** False: no weight and no bias are stored. */
  readonly affine: boolean;
}

export type Activation = 'silu' | 'gelu' | 'gelu_tanh' | 'quick_gelu' | 'relu';

export interface Attention {
  /** Three layers, or one whose output is q | k | v. */
  readonly projections: { readonly q: Linear; readonly k: Linear; readonly v: Linear } | { readonly qkv: Linear };
  readonly output: Linear;
  readonly heads: number;
  /** Divides `heads`. */
  readonly keyValueHeads: number;
  readonly headSize: number;
  /** Factor on q·k. */
  readonly scale: number;
  /** Index into the architecture's ropes; undefined for a layer without rotary positions. */
  readonly rope?: number;
  /** A token sees itself and the window − 1 tokens before it; undefined for all before it. */
  readonly window?: number;
  /** c·tanh(score / c), before the mask. */
  readonly softcap?: number;
  /** Normalizations of q and k before rope: of each head where `size` is a head's, else of all heads together. */
  readonly queryNorm?: Normalization;
  readonly keyNorm?: Normalization;
}

export interface FeedForward {
  /** act(gate)·up, from two layers or from one whose output is gate | up; or a plain act(up). */
  readonly input:
    | { readonly gate: Linear; readonly up: Linear }
    | { readonly gateUp: Linear }
    | { readonly up: Linear };
  readonly down: Linear;
  readonly activation: Activation;
}

/** One sublayer of the residual stream: x ← after(x + factor·between(f(before(x)))). */
export interface Sublayer<Inner> {
  readonly before?: Normalization;
  readonly inner: Inner;
  readonly between?: Normalization;
  /** Default 1. */
  readonly factor?: number;
  readonly after?: Normalization;
}

export interface Layer {
  readonly attention: Sublayer<Attention>;
  readonly feedForward: Sublayer<FeedForward>;
}

/** Rotary positions; see runtime/rope.ts for the formulas. */
export interface Rope {
  readonly theta: number;
  /** Even; the first so many elements of a head are rotated. */
  readonly rotated: number;
  readonly scaling: RopeScaling;
}

export type RopeScaling =
  | { readonly type: 'default' }
  | { readonly type: 'linear'; readonly factor: number }
  | { readonly type: 'dynamic'; readonly factor: number; readonly maxPositions: number }
  | {
      readonly type: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalMaxPositions: number;
    }
  | {
      readonly type: 'yarn';
      readonly factor: number;
      readonly attentionFactor: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly truncate: boolean;
      readonly originalMaxPositions: number;
    }
  | {
      readonly type: 'longrope';
      readonly shortFactor: readonly number[];
      readonly longFactor: readonly number[];
      readonly attentionFactor: number;
      readonly originalMaxPositions: number;
    };

export interface Architecture {
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly maxPositions: number;
  /** Whether PEFT writes `fan_in_fan_out: true` for this family. */
  readonly fanInFanOut: boolean;
  readonly embedding: {
    /** Tensor `[vocabularySize, size]`. */
    readonly tokens: string;
    readonly size: number;
    readonly scale?: number;
    /** Learned positions: tensor `[rows, hiddenSize]`, row = position + offset. */
    readonly positions?: { readonly name: string; readonly rows: number; readonly offset: number };
    /** From `size` to the hidden size. */
    readonly projection?: Linear;
  };
  readonly ropes: readonly Rope[];
  readonly layers: readonly Layer[];
  readonly finalNorm?: Normalization;
  readonly head: {
    /** Tensor `[vocabularySize, embedding.size]`. */
    readonly name: string;
    /** Where `name` is absent from the files, the tokens' embedding is taken. */
    readonly tied: boolean;
    /** From the hidden size to `embedding.size`. */
    readonly projection?: Linear;
    /** c·tanh(logit / c). */
    readonly softcap?: number;
    /** Logits are divided by it. */
    readonly divisor?: number;
  };
  /** What a base model saved without its head leaves out of every name: `model.`, `transformer.` */
  readonly prefix: string;
}

/** Every linear layer within the layers, in θ's order. */
function layerLinears(layer: Layer): Linear[] {
  const { projections, output } = layer.attention.inner;
  const { input, down } = layer.feedForward.inner;
  const attention = 'qkv' in projections ? [projections.qkv] : [projections.q, projections.k, projections.v];
  const inner = 'gateUp' in input ? [input.gateUp] : 'gate' in input ? [input.gate, input.up] : [input.up];
  return [...attention, output, ...inner, down];
}

/** Every linear layer that LoRA may adapt, in θ's order. The head and the embeddings are none. */
export function adaptableLinears({ embedding, layers, head }: Architecture): Linear[] {
  const [first, last] = [embedding.projection, head.projection];
  return [...(first ? [first] : []), ...layers.flatMap(layerLinears), ...(last ? [last] : [])];
}

/** Name and shape of every tensor that the forward pass reads, but for the head's, which may be tied. */
export function requiredTensors(architecture: Architecture): Map<string, readonly number[]> {
  const tensors = new Map<string, readonly number[]>();
  const addNorm = (norm: Normalization | undefined): void => {
    if (norm === undefined || !norm.affine) return;
    tensors.set(`${norm.name}.weight`, [norm.size]);
    if (norm.kind === 'layer') tensors.set(`${norm.name}.bias`, [norm.size]);
  };
  const addLinear = (linear: Linear | undefined): void => {
    if (linear === undefined) return;
    const { name, fanIn, fanOut, stored, bias } = linear;
    tensors.set(`${name}.weight`, stored === 'out-in' ? [fanOut, fanIn] : [fanIn, fanOut]);
    if (bias) tensors.set(`${name}.bias`, [fanOut]);
  };
  const { embedding, layers, head, vocabularySize, hiddenSize } = architecture;
  tensors.set(embedding.tokens, [vocabularySize, embedding.size]);
  if (embedding.positions) tensors.set(embedding.positions.name, [embedding.positions.rows, hiddenSize]);
  addLinear(embedding.projection);
  for (const layer of layers) {
    for (const { before, between, after } of [layer.attention, layer.feedForward])
      for (const norm of [before, between, after]) addNorm(norm);
    addNorm(layer.attention.inner.queryNorm);
    addNorm(layer.attention.inner.keyNorm);
    for (const linear of layerLinears(layer)) addLinear(linear);
  }
  addNorm(architecture.finalNorm);
  addLinear(head.projection);
  return tensors;
}
