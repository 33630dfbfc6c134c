/** Reverse mode: the whole model, from token ids to the gradient of the loss by the adapter, in one graph. */
import assert from 'node:assert/strict';
import type { AdapterLayout } from '../../kernels/adapter-layout.ts';
import type { BaseModel } from '../base-model.ts';
import { adjoints, type Dual } from './dual.ts';
import { lossOf } from './head.ts';
import { thetaMatrices } from './made-adapters.ts';
import { ModelGraph } from './model-graph.ts';
import type { Value } from './onnx-parts.ts';
import { type SerializedGraph, serialized, takeAdapters, tokenIds, trunkParts } from './trunk.ts';

/**
 * Inputs: theta (made-adapters.ts), those of the trunk but for the trained matrices, those of the head, differentiate (bool `[1]`),
 * and what the transposes of the trunk's choices need: copies `[E]`, copyOf `[N, E]`, isFirst `[B, T, 1]`, labelOf `[N, L]`; with `remakes` also remake (bool `[1]`).
 * Outputs: nll `[L, 1]` in nats; where differentiate holds gradient `[1, d]`, of the sum of nll by θ, else empty.
 * @param remakes whether a run may choose, by remake, to make a part's values again when it is gone back through
 */
export function gradientGraph(model: BaseModel, layout: AdapterLayout, remakes: boolean): SerializedGraph {
  const g = new ModelGraph(model, {});
  const { graph } = g;
  const variables = thetaMatrices(g, layout).map((value): Dual => ({ value, terms: [] }));
  takeAdapters(g, layout, (_, i) => variables[i]!);
  const way = (remake: boolean) => (): Value[] => thereAndBack(g, variables, remake);
  const outputs = graph.choose(
    g.differentiate(),
    remakes ? () => graph.choose(graph.input('remake', 'bool', [1]), way(true), way(false)) : way(false),
    () => [there(g), graph.nothing()],
  );
  graph.output(outputs[0]!, 'nll', ['L', 1]);
  graph.output(outputs[1]!, 'gradient', [1, layout.elements]);
  return serialized(g);
}

/** nll alone. */
function there(g: ModelGraph): Value {
  const hidden = trunkParts(g).reduce((x, part) => part(x), tokenIds(g));
  return lossOf(g, perLabel(g, hidden)).nll;
}

/** Hidden `[1, L, size]` as the head takes it, `[L, size]`: a variable. */
function perLabel({ graph, architecture }: ModelGraph, hidden: Dual): Dual {
  return { value: graph.node('Reshape', [hidden.value, graph.integers([-1, architecture.embedding.size])]), terms: [] };
}

/**
 * nll, and its gradient by `variables`, flat. Part by part: the input of each is a variable of its own, so that going back through
 * one needs no other. Each way back is a branch, whose nodes ONNX Runtime orders and plans by themselves: what is made again waits
 * for its turn, and the session is made in a third of the time.
 */
function thereAndBack(g: ModelGraph, variables: readonly Dual[], remake: boolean): [nll: Value, gradient: Value] {
  const { graph } = g;
  let x = tokenIds(g);
  const parts = trunkParts(g).map((part) => {
    const input: Dual = { value: x.value, terms: x.terms && [] };
    const output = part(input);
    x = output;
    return { part, input, output };
  });
  const { nll, slope } = lossOf(g, perLabel(g, x));
  const gradients: PartGradient[] = [];
  let dy: Value | undefined = graph.node('Unsqueeze', [slope(), graph.integers([0])]);
  for (const { part, input, output } of parts.reverse()) {
    if (dy === undefined || output.terms === undefined) break;
    const { dx, gradient } = wayBack(g, () => (remake ? part(input) : output), dy, { input, variables });
    if (gradient.trained.length > 0) gradients.push(gradient);
    dy = dx;
  }
  gradients.sort((a, b) => a.trained[0]! - b.trained[0]!);
  const order = gradients.flatMap(({ trained }) => trained);
  assert.deepEqual(order, [...variables.keys()], 'the matrices of a part lie together in θ');
  const values = gradients.map(({ value }) => value);
  return [nll, graph.node('Concat', values, { axis: 1 })];
}

/** By the matrices of one part: `trained` are their places in θ, `value` is `[1, their elements]`. */
interface PartGradient {
  readonly trained: readonly number[];
  readonly value: Value;
}

/** Of what `make` makes of `input`, from its adjoint `dy`: the adjoint of `input`, if that is a variable, and the gradient by those of `variables` in it. */
function wayBack(
  g: ModelGraph,
  make: () => Dual,
  dy: Value,
  { input, variables }: { readonly input: Dual; readonly variables: readonly Dual[] },
): { dx: Value | undefined; gradient: PartGradient } {
  const { graph } = g;
  const trained: number[] = [];
  const [dx, value] = graph.choose(g.differentiate(), () => {
    const found = adjoints(graph, make(), dy);
    for (const [i, variable] of variables.entries()) if (found.has(variable)) trained.push(i);
    const flat = trained.map((i) => graph.node('Reshape', [found.get(variables[i]!)!, graph.integers([1, -1])]));
    return [
      found.get(input) ?? graph.nothing(),
      flat.length > 0 ? graph.node('Concat', flat, { axis: 1 }) : graph.nothing(),
    ];
  });
  return { dx: input.terms && dx, gradient: { trained, value: value! } };
}
