/** The one large buffer of a worker that is not θ. */
import type { Backend } from '../../kernels/backend.ts';

/** The buffer of perturbed adapters or directions `[G · d]`: as large as the largest forward pass so far needed. */
export class Scratch {
  private readonly backend: Backend;
  private buffer: Float32Array = new Float32Array();

  constructor(backend: Backend) {
    this.backend = backend;
  }

  /** The first `elements` of the buffer; what it held may be lost. */
  take(elements: number): Float32Array {
    if (this.buffer.length < elements) this.buffer = this.backend.allocate(elements);
    return this.buffer.subarray(0, elements);
  }
}
