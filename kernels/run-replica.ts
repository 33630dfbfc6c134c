/** What a run config says of replicas: the learning rule, θ's layout, and the replica of round 0. */
import type { RunConfig } from '../proto/run-config.ts';
import { type AdapterLayout, adapterLayout } from './adapter-layout.ts';
import { initialAdapter } from './initial-adapter.ts';
import type { LearningRule } from './learning-rule.ts';
import { seedKey } from './random-keys.ts';

export function learningRuleOf({ seed, learning }: RunConfig): LearningRule {
  return { ...learning, seedKey: seedKey(seed) };
}

export const layoutOf = ({ adapter }: RunConfig): AdapterLayout => adapterLayout(adapter.modules, adapter.train);

/**
 * All adapter matrices of round 0 (A and B of every module, whatever is trained).
 * @param given float32 little-endian bytes from the round log's header when the run continues an adapter; else empty
 */
export function initialMatrices({ seed, adapter }: RunConfig, given: Uint8Array): Float32Array {
  return given.length > 0 ? new Float32Array(Uint8Array.from(given).buffer) : initialAdapter(seed, adapter.modules);
}

/** θ: the trained part of `matrices`, as a new array. */
export function trainedPart(layout: AdapterLayout, matrices: Float32Array): Float32Array {
  if (layout.train === 'both') return matrices.slice();
  const theta = new Float32Array(layout.elements);
  forEachTrained(layout, (tensor, at) => theta.set(matrices.subarray(at, at + tensor.elements), tensor.offset));
  return theta;
}

/** A of every module, one after another, where the layout trains B alone. */
export function frozenPart({ train, modules }: AdapterLayout, matrices: Float32Array): Float32Array | undefined {
  if (train === 'both') return undefined;
  const frozen = adapterLayout(modules, 'both').tensors.filter(({ matrix }) => matrix === 'A');
  const all = new Float32Array(frozen.reduce((sum, { elements }) => sum + elements, 0));
  let at = 0;
  for (const { offset, elements } of frozen) {
    all.set(matrices.subarray(offset, offset + elements), at);
    at += elements;
  }
  return all;
}

/** A copy of `matrices` with its trained part replaced by θ: what a PEFT directory holds. */
export function withTrainedPart(layout: AdapterLayout, matrices: Float32Array, theta: Float32Array): Float32Array {
  const all = matrices.slice();
  forEachTrained(layout, (tensor, at) => all.set(theta.subarray(tensor.offset, tensor.offset + tensor.elements), at));
  return all;
}

/** Visits θ's tensors with their offset among the matrices of all modules. */
function forEachTrained(
  layout: AdapterLayout,
  visit: (tensor: AdapterLayout['tensors'][number], at: number) => void,
): void {
  const places = adapterLayout(layout.modules, 'both').tensors;
  for (const tensor of layout.tensors)
    visit(tensor, places.find((place) => place.module === tensor.module && place.matrix === tensor.matrix)!.offset);
}
