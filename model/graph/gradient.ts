/** Reverse mode: the whole model, from token ids to the gradient of the loss by the adapter, in one graph. */
import type { AdapterLayout } from '../../kernels/adapter-layout.ts';
import type { BaseModel } from '../base-model.ts';
import type { Value } from './builder.ts';
import { adjoints, type Dual } from './dual.ts';
import { lossOf } from './head.ts';
import { ModelGraph } from './model-graph.ts';
import { type SerializedGraph, takeAdapters, tokenIds, trunkParts } from './trunk.ts';

/** Names of the gradient's outputs. */
export const gradientOutput = (matrix: 'A' | 'B', module: number): string => `g${matrix}${module}`;

/**
 * Inputs: those of the trunk for one adapter and those of the head, differentiate (bool `[1]`), and what the transposes of the
 * trunk's choices need: copies `[E]`, copyOf `[N, E]`, isFirst `[B, T, 1]`, labelOf `[N, L]`.
 * Outputs: nll `[L, 1]` in nats; where differentiate holds the gradient of the sum of nll by each trained matrix, `[1, …]` in its
 * shape, else empty.
 */
export function gradientGraph(model: BaseModel, layout: AdapterLayout): SerializedGraph {
  const g = new ModelGraph(model, {});
  const { graph } = g;
  const variables = new Map<Dual, { name: string; shape: readonly number[] }>();
  takeAdapters(g, layout, (value, matrix, module, shape) => {
    const variable = { value, terms: [] };
    variables.set(variable, { name: gradientOutput(matrix, module), shape });
    return variable;
  });
  const outputs = graph.choose(
    g.differentiate(),
    () => {
      const { nll, gradients } = differentiated(g);
      return [nll, ...[...variables.keys()].map((variable) => gradients.get(variable)!)];
    },
    () => [lossOf(g, perLabel(g, trunkOf(g))).nll, ...[...variables].map(() => graph.filled(0, 0))],
  );
  graph.output(outputs[0]!, 'nll', ['L', 1]);
  for (const [i, { name, shape }] of [...variables.values()].entries())
    graph.output(outputs[1 + i]!, name, [1, ...shape]);
  return { bytes: graph.serialize(), weightsDirectory: graph.weightsDirectory };
}

const trunkOf = (g: ModelGraph): Dual => trunkParts(g).reduce((x, part) => part(x), tokenIds(g));

/** Hidden `[1, L, size]` as the head takes it, `[L, size]`: a variable. */
function perLabel({ graph, architecture }: ModelGraph, hidden: Dual): Dual {
  return { value: graph.node('Reshape', [hidden.value, graph.integers([-1, architecture.embedding.size])]), terms: [] };
}

/** Part by part: each part's input is a variable of its own, so that going back through one part needs no other. */
function differentiated(g: ModelGraph): { nll: Value; gradients: Map<Dual, Value> } {
  const { graph } = g;
  let x = tokenIds(g);
  const parts = trunkParts(g).map((part) => {
    const input: Dual = { value: x.value, terms: x.terms && [] };
    const output = part(input);
    x = output;
    return { input, output };
  });
  const hidden = perLabel(g, x);
  const { nll, slope } = lossOf(g, hidden);
  let dy: Value | undefined = graph.node('Unsqueeze', [slope(), graph.integers([0])]);
  const gradients = new Map<Dual, Value>();
  for (const { input, output } of parts.reverse()) {
    if (dy === undefined || output.terms === undefined) break;
    const found: Map<Dual, Value> = adjoints(graph, output, dy);
    for (const [dual, adjoint] of found) if (dual.terms?.length === 0) gradients.set(dual, adjoint);
    dy = found.get(input);
  }
  return { nll, gradients };
}
