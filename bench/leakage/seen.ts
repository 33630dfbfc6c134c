/** What a participant sees of another worker, and small tools of the attacks on it. */
import { powerOfTwo } from '../../kernels/float64.ts';
import { exponentInForce } from '../../kernels/learning-rule.ts';
import type { ReplicaState } from '../../kernels/replica.ts';
import type { TokenRow } from '../../model/token-row.ts';
import { DECODED_512, STEPS_PER_UNIT } from '../../proto/e4m3.ts';
import { mean } from '../statistics.ts';

export interface LeakageRow {
  /**
   * which: which of 32 rows are in the minibatch; member: is a row in the shard; text: the two tokens of a completion; canary: what the
   * final adapter has learnt by heart.
   */
  readonly attack: 'which' | 'member' | 'text' | 'canary';
  /** `averaging`: the whole float32 gradient was seen. */
  readonly estimator: string;
  /** ε of the worker, δ 1e-5; absent without a budget. */
  readonly epsilon?: number;
  /** Rows of the minibatch. */
  readonly rows: number;
  /** What the attacker saw of this worker; absent: the final adapter alone. */
  readonly bytes?: number;
  /**
   * Part of the rows or tokens that were found; of `member`, the area under the curve of true against false positives; of `canary`, the
   * part that is likelier than all other completions.
   */
  readonly found: number;
  /** What guessing finds. */
  readonly chance: number;
  /** Of `member`: largest difference of true and false positives, the largest that ε allows, and members as many as strangers. */
  readonly advantage?: number;
  readonly allowed?: number;
  readonly asked?: number;
  /** Of `canary`: copies in one worker's rows, and mean exposure, bits. */
  readonly copies?: number;
  readonly exposure?: number;
}

/** The projected gradients that bytes of the replica's round stand for. */
export function valuesOf(bytes: Uint8Array, { normaliser }: ReplicaState): Float64Array {
  const scale = powerOfTwo(exponentInForce(normaliser)) / STEPS_PER_UNIT;
  return Float64Array.from(bytes, (byte) => DECODED_512[byte]! * scale);
}

/** Element by element. */
export const meanOf = (vectors: readonly (Float32Array | Float64Array)[]): Float64Array =>
  Float64Array.from(vectors[0]!, (_, k) => mean(vectors.map((vector) => vector[k]!)));

/** `values` in an order that `random`, uniform in [0, 1), decides. */
export const shuffled = <T>(values: readonly T[], random: () => number): T[] =>
  values
    .map((value) => ({ value, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ value }) => value);

/** Without rows that occurred before: two that are alike cannot be told apart. */
export const differentRows = (rows: readonly TokenRow[]): TokenRow[] => [
  ...new Map(rows.map((row) => [row.ids.join(' '), row])).values(),
];
