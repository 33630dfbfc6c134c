/** What is known of an evaluation of the dev split while it is open: who was asked for which rows, and what they said. */
import type { EvaluationCounts } from '../../proto/gen/onebyte.ts';

/** What one member was asked, and what it said. */
export interface Ask {
  readonly atMs: number;
  counts: EvaluationCounts | undefined;
  /** Its counts may still come. */
  isOpen: boolean;
}

/** Rows of the dev split that are evaluated together. */
export interface EvaluationRange {
  readonly firstRow: number;
  readonly rows: number;
  /** By worker. */
  readonly asks: Map<number, Ask>;
  /** Two members said different things of these rows: all are asked, and most of them must agree. */
  isDisputed: boolean;
  /** What counts; undefined while that is open, and where nobody could tell. */
  counts: EvaluationCounts | undefined;
  isClosed: boolean;
}

export interface OpenEvaluation {
  /** Records done. */
  readonly round: number;
  readonly ranges: readonly EvaluationRange[];
  /** Members that were asked at its beginning, and how long those who answered took, ms. */
  readonly members: number;
  readonly answeredMs: Map<number, number>;
}
