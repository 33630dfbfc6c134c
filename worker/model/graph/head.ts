/** The head: logits over the vocabulary at label positions, and the negative log-likelihood of each label. */
import type { BaseModel } from '../base-model.ts';
import type { Int8Weights } from '../int8-weights.ts';
import { ModelGraph } from './model-graph.ts';
import type { SerializedGraph } from './trunk.ts';

/**
 * Inputs: hidden `[M, embedding size]`, for `nll` also targets `[M, 1]` (token ids).
 * Output: nll `[M, 1]` in nats, or logits `[M, vocabularySize]` (after the final soft cap).
 */
export function headGraph(model: BaseModel, output: 'nll' | 'logits', int8?: Int8Weights): SerializedGraph {
  const g = new ModelGraph(model, int8);
  const { graph, architecture } = g;
  const { head, vocabularySize } = architecture;
  const hidden = graph.input('hidden', 'float32', ['M', architecture.embedding.size]);
  const shape = { fanIn: architecture.embedding.size, fanOut: vocabularySize, stored: 'out-in' } as const;
  let logits = g.product(hidden, head.name, shape);
  if (head.softcap !== undefined) logits = g.softcapped(logits, head.softcap);
  if (output === 'logits') {
    graph.output(logits, 'logits', ['M', vocabularySize]);
  } else {
    const targets = graph.input('targets', 'int64', ['M', 1]);
    const logProbabilities = graph.node('LogSoftmax', [logits], { axis: -1 });
    const chosen = graph.node('GatherElements', [logProbabilities, targets], { axis: -1 });
    graph.output(graph.node('Neg', [chosen]), 'nll', ['M', 1]);
  }
  return { bytes: graph.serialize(), weightsDirectory: graph.weightsDirectory };
}
