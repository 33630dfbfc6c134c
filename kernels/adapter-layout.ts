/** Where each adapter matrix lies in θ, and in the scratch buffer that holds many perturbed adapters at once. */
import type { AdapterDescription, AdapterModule } from '../proto/adapter.ts';

/** One matrix of θ, row-major in PEFT's shape. */
export interface AdapterTensor {
  /** Index into the layout's modules. */
  readonly module: number;
  readonly matrix: 'A' | 'B';
  /** A `[rank, fanIn]`, B `[fanOut, rank]`. */
  readonly shape: readonly [rows: number, columns: number];
  /** First element in θ. */
  readonly offset: number;
  readonly elements: number;
}

export interface AdapterLayout {
  readonly modules: readonly AdapterModule[];
  /** Which matrices are trained. */
  readonly train: AdapterDescription['train'];
  /** In θ's order: modules as given (layers ascending, the family's order within a layer), A before B. */
  readonly tensors: readonly AdapterTensor[];
  /** d, the length of θ. */
  readonly elements: number;
}

/** The layout of θ for `modules`, in their order. */
export function adapterLayout(
  modules: readonly AdapterModule[],
  train: AdapterLayout['train'] = 'both',
): AdapterLayout {
  const tensors: AdapterTensor[] = [];
  let offset = 0;
  const add = (module: number, matrix: 'A' | 'B', rows: number, columns: number): void => {
    tensors.push({ module, matrix, shape: [rows, columns], offset, elements: rows * columns });
    offset += rows * columns;
  };
  modules.forEach(({ rank, fanIn, fanOut }, module) => {
    if (train === 'both') add(module, 'A', rank, fanIn);
    add(module, 'B', fanOut, rank);
  });
  return { modules, train, tensors, elements: offset };
}

/**
 * Where `tensor` of adapter `g` begins in a scratch buffer of `adapters` perturbed adapters `[adapters · d]`.
 * The buffer is tensor-major: for each tensor its `adapters` copies lie together, so that
 * `scratch.subarray(scratchOffset(t, G, 0), scratchOffset(t, G, G))` is the `[G, rows, columns]` input of the forward pass.
 */
export function scratchOffset(tensor: AdapterTensor, adapters: number, g: number): number {
  return tensor.offset * adapters + tensor.elements * g;
}
