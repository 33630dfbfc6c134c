/** The head: logits over the vocabulary at label positions, the negative log-likelihood of each label, and its slope. */
import type { BaseModel } from '../base-model.ts';
import type { Int8Weights } from '../int8-weights.ts';
import { adjoints, type Dual, scaled } from './dual.ts';
import { ModelGraph } from './model-graph.ts';
import type { Value } from './onnx-parts.ts';
import { type SerializedGraph, serialized } from './trunk.ts';

/** What the head gives: logits, nll, or nll and what it changes by with the hidden state. */
export type HeadOutput = 'logits' | 'nll' | 'slope';

/**
 * Inputs: hidden `[M, embedding size]`, for `nll` and `slope` also targets `[M, 1]` (token ids), for `slope` also differentiate.
 * Outputs: logits `[M, vocabularySize]` (after the final soft cap); or nll `[M, 1]` in nats, for `slope` also slope
 * `[M, embedding size]`, ∂nll/∂hidden, where differentiate holds.
 */
export function headGraph(model: BaseModel, output: HeadOutput, int8?: Int8Weights): SerializedGraph {
  const g = new ModelGraph(model, { int8 });
  const { graph } = g;
  const { embedding, vocabularySize } = g.architecture;
  const hidden: Dual = { value: graph.input('hidden', 'float32', ['M', embedding.size]), terms: [] };
  if (output === 'logits') {
    graph.output(logitsOf(g, hidden).value, 'logits', ['M', vocabularySize]);
  } else {
    const { nll, slope } = lossOf(g, hidden);
    graph.output(nll, 'nll', ['M', 1]);
    if (output === 'slope') {
      const [ended] = graph.endBranch(g.differentiate(), graph.inBranch(slope));
      graph.output(ended!, 'slope', ['M', embedding.size]);
    }
  }
  return serialized(g);
}

function logitsOf(g: ModelGraph, hidden: Dual): Dual {
  const { head, embedding, vocabularySize } = g.architecture;
  const shape = { fanIn: embedding.size, fanOut: vocabularySize, stored: 'out-in' } as const;
  const product = g.product(hidden, head.name, shape);
  const divided = head.divisor === undefined ? product : scaled(g.graph, product, 1 / head.divisor);
  return head.softcap === undefined ? divided : g.softcapped(divided, head.softcap);
}

/**
 * nll `[M, 1]` of `hidden` `[M, embedding size]`, which is a variable, and its slope `[M, embedding size]`,
 * ∂nll/∂hidden = (cap′ ∘ (p − e_target))·W. With it the tangent of a label costs `size` products instead of `size · V`: the
 * head is linear in the tangent, so its factors may be multiplied in either order.
 */
export function lossOf(g: ModelGraph, hidden: Dual): { nll: Value; slope: () => Value } {
  const { graph } = g;
  const logits = logitsOf(g, hidden);
  const targets = graph.input('targets', 'int64', ['M', 1]);
  const logProbabilities = graph.node('LogSoftmax', [logits.value], { axis: -1 });
  const nll = graph.node('Neg', [graph.node('GatherElements', [logProbabilities, targets], { axis: -1 })]);
  const slope = (): Value => {
    const probabilities = graph.node('Exp', [logProbabilities]);
    const chosen = graph.node('GatherElements', [probabilities, targets], { axis: -1 });
    const lessOne = graph.node('Sub', [chosen, graph.scalar(1)]);
    const error = graph.node('ScatterElements', [probabilities, targets, lessOne], { axis: -1 });
    return adjoints(graph, logits, error).get(hidden)!;
  };
  return { nll, slope };
}
