/** What `onebyte eval --serve` hears from the process that started it, and tells it, in turn. */
import type { Figures } from '../proto/evaluation.ts';

/** The next adapter, a directory; none: the model as it is. */
export interface EvaluatorRequest {
  readonly adapter: string | undefined;
}

export interface EvaluatorMessage {
  readonly kind: 'evaluated';
  readonly figures: Figures;
}
