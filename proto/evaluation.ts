/** What the sums of an evaluation tell a person: the one place that reads them. */
import type { Evaluation } from './gen/onebyte.ts';

/** Sums over rows of a split, as they travel and stand in the round log. */
export type Counts = Pick<Evaluation, 'correct' | 'classified' | 'lossSum'>;

/** Figures of a split. */
export interface Figures {
  /** Mean over rows of the summed negative log likelihood of the right completion, nats; not finite where a row's is not. */
  readonly loss: number;
  /** Part of the rows with options whose right option was the likeliest, 0…1; undefined where none has options. */
  readonly accuracy: number | undefined;
}

export const figuresOf = ({ correct, classified, lossSum }: Counts, rows: number): Figures => ({
  loss: lossSum / rows,
  accuracy: classified > 0 ? correct / classified : undefined,
});

/** More right answers, then less loss; a loss that is not finite is never better. */
export function isBetter(a: Evaluation, b: Evaluation | undefined): boolean {
  if (!Number.isFinite(a.lossSum)) return false;
  if (!b) return true;
  const [mine, best] = [figuresOf(a, a.rows), figuresOf(b, b.rows)];
  const [right, before] = [mine.accuracy ?? 0, best.accuracy ?? 0];
  return right > before || (right === before && mine.loss < best.loss);
}
