/** The head: logits over the vocabulary at label positions, the negative log-likelihood of each label, and its slope. */
import type { BaseModel } from '../base-model.ts';
import type { Int8Weights } from '../int8-weights.ts';
import type { Value } from './builder.ts';
import { ModelGraph } from './model-graph.ts';
import type { SerializedGraph } from './trunk.ts';

/** What the head gives: logits, nll, or nll and what it changes by with the hidden state. */
export type HeadOutput = 'logits' | 'nll' | 'slope';

/**
 * Inputs: hidden `[M, embedding size]`, for `nll` and `slope` also targets `[M, 1]` (token ids), for `slope` also differentiate.
 * Outputs: logits `[M, vocabularySize]` (after the final soft cap); or nll `[M, 1]` in nats, for `slope` also slope
 * `[M, embedding size]`, ∂nll/∂hidden, where differentiate holds.
 */
export function headGraph(model: BaseModel, output: HeadOutput, int8?: Int8Weights): SerializedGraph {
  const g = new ModelGraph(model, { int8 });
  const { graph, architecture } = g;
  const { head, embedding, vocabularySize } = architecture;
  const hidden = graph.input('hidden', 'float32', ['M', embedding.size]);
  const shape = { fanIn: embedding.size, fanOut: vocabularySize, stored: 'out-in' } as const;
  const product = g.product({ value: hidden }, head.name, shape).value;
  const logits = head.softcap === undefined ? product : g.softcapped({ value: product }, head.softcap).value;
  if (output === 'logits') {
    graph.output(logits, 'logits', ['M', vocabularySize]);
  } else {
    const targets = graph.input('targets', 'int64', ['M', 1]);
    const logProbabilities = graph.node('LogSoftmax', [logits], { axis: -1 });
    const chosen = graph.node('GatherElements', [logProbabilities, targets], { axis: -1 });
    graph.output(graph.node('Neg', [chosen]), 'nll', ['M', 1]);
    if (output === 'slope') {
      const slope = graph.inBranch(() => slopeOf(g, product, logProbabilities, targets));
      const [ended] = graph.endBranch(g.differentiate(), slope);
      graph.output(ended!, 'slope', ['M', embedding.size]);
    }
  }
  return { bytes: graph.serialize(), weightsDirectory: graph.weightsDirectory };
}

/**
 * ∂nll/∂hidden = (∂cap ∘ (p − e_target))·W. With it the tangent of a label costs `size` products instead of `size · V`: the
 * head is linear in the tangent, so its factors may be multiplied in either order.
 */
function slopeOf(g: ModelGraph, product: Value, logProbabilities: Value, targets: Value): Value {
  const { graph, architecture } = g;
  const { name, softcap } = architecture.head;
  const probabilities = graph.node('Exp', [logProbabilities]);
  const chosen = graph.node('GatherElements', [probabilities, targets], { axis: -1 });
  const lessOne = graph.node('Sub', [chosen, graph.scalar(1)]);
  const error = graph.node('ScatterElements', [probabilities, targets, lessOne], { axis: -1 });
  // The cap works element by element: its transpose is itself.
  const pulled = softcap === undefined ? error : g.softcapped({ value: product, tangent: error }, softcap).tangent!;
  return graph.node('MatMul', [pulled, g.weight(name)]);
}
