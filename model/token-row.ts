/** A row as the forward pass takes it. */
export interface TokenRow {
  /** Token ids of prompt and completion. */
  readonly ids: readonly number[];
  /** ids[firstCompletion …] are predicted; 1 ≤ firstCompletion < ids.length. */
  readonly firstCompletion: number;
}
