/** Adapters as inputs of a session. */
import { Tensor } from 'onnxruntime-node';
import { type AdapterLayout, scratchOffset } from '../../kernels/adapter-layout.ts';
import { adapterInput } from '../graph/trunk.ts';
import { type Move, moveFeeds, type SignedDirections, thetaFeed } from './signed-feeds.ts';

export interface ForwardAdapter {
  readonly layout: AdapterLayout;
  /** Where the layout trains B alone: A `[rank, fanIn]` of every module, one after another, the same for all G. */
  readonly frozenA?: Float32Array | undefined;
}

/** Trained matrices of `count` adapters from `first` on, of the `copies` in `scratch`: views, not copies. */
export function trainedFeeds(
  { tensors }: AdapterLayout,
  inputOf: (matrix: 'A' | 'B', module: number) => string,
  scratch: Float32Array,
  { copies, first, count }: { readonly copies: number; readonly first: number; readonly count: number },
): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  for (const tensor of tensors) {
    const from = scratchOffset(tensor, copies, first);
    const view = scratch.subarray(from, from + count * tensor.elements);
    feeds[inputOf(tensor.matrix, tensor.module)] = new Tensor('float32', view, [count, ...tensor.shape]);
  }
  return feeds;
}

/** Adapters of a pass, of which a run takes some. */
export interface AdapterSource {
  readonly count: number;
  feeds(first: number, count: number): Record<string, Tensor>;
}

/** The `copies` perturbed adapters in `scratch`. */
export const givenAdapters = (layout: AdapterLayout, scratch: Float32Array, copies: number): AdapterSource => ({
  count: copies,
  feeds: (first, count) => trainedFeeds(layout, adapterInput, scratch, { copies, first, count }),
});

/** θ + step·z for each of `moves`. */
export function signedAdapters(
  layout: AdapterLayout,
  theta: Float32Array,
  z: SignedDirections,
  moves: readonly Move[],
): AdapterSource {
  const shared = thetaFeed(layout, theta);
  return {
    count: moves.length,
    feeds: (first, count) => ({ ...shared, ...moveFeeds(layout, z, moves.slice(first, first + count)) }),
  };
}

/** The matrices that stay as they are. */
export function frozenFeeds({ layout, frozenA }: ForwardAdapter): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  if (layout.train === 'both') return feeds;
  let at = 0;
  layout.modules.forEach(({ rank, fanIn }, module) => {
    const view = frozenA!.subarray(at, at + rank * fanIn);
    at += rank * fanIn;
    feeds[adapterInput('A', module)] = new Tensor('float32', view, [1, rank, fanIn]);
  });
  return feeds;
}
