/** What a committed round tells beside its record: who answered when, and how its gradient bytes are distributed. */
import { type Absorbed, type DecayingRate, liveGradients, rateOf } from '../../kernels/learning-rule.ts';
import { isAbstention } from '../../proto/e4m3.ts';
import type { Record } from '../../proto/gen/onebyte.ts';
import type { RecordEntry } from '../../proto/record.ts';

/** Buckets of a byte distribution: by sign and E4M3 exponent, then the abstentions. */
export const BUCKETS = 33;

/** Bucket `byte >> 3`: 0…15 positive by rising exponent, 16…31 negative by rising exponent, 32 abstained. `[33]` */
function byteBuckets(record: Record): number[] {
  const buckets = new Array<number>(BUCKETS).fill(0);
  for (const byte of record.gradientBytes) buckets[isAbstention(byte) ? 32 : byte >> 3]!++;
  return buckets;
}

/** What a record holds of one worker. */
export interface Share {
  readonly contributions: number;
  /** Live ones: it may have abstained. */
  readonly gradients: number;
  /** Gradient bytes that were cut to the winsorising limit. */
  readonly clipped: number;
}

export interface RoundDetail {
  readonly exponent: number;
  /** The rate that this record was applied at. */
  readonly learningRate: number;
  /** Root mean square of the projected gradients, averaged as the learning rule does; nats per unit of length. */
  readonly rms: number;
  /** Gradient bytes of the record, abstentions included. */
  readonly payloadBytes: number;
  readonly buckets: readonly number[];
  /** By worker. */
  readonly shares: ReadonlyMap<number, Share>;
  /** When each worker's first contribution came, ms after the round opened. */
  readonly answeredMs: ReadonlyMap<number, number>;
  /** Workers that the round waited for and that are not in it. */
  readonly missing: readonly number[];
}

/** @param entries the record's contributions @param expected workers that the round waited for @param absorbed what the record asks of a replica */
export function roundDetail(
  record: Record,
  entries: readonly RecordEntry[],
  { normaliser, update }: Absorbed,
  answeredMs: ReadonlyMap<number, number>,
  expected: readonly number[],
  rate: DecayingRate,
): RoundDetail {
  const shares = new Map<number, Share>();
  for (const entry of entries) {
    const { worker } = entry;
    const { contributions, gradients } = shares.get(worker) ?? { contributions: 0, gradients: 0 };
    const clipped = update?.clipped.get(worker) ?? 0;
    shares.set(worker, { contributions: contributions + 1, gradients: gradients + liveGradients(entry), clipped });
  }
  return {
    exponent: record.exponent,
    learningRate: rateOf(rate, record.round),
    rms: Math.sqrt(normaliser.v),
    payloadBytes: record.gradientBytes.length,
    buckets: byteBuckets(record),
    shares,
    answeredMs,
    missing: expected.filter((worker) => !shares.has(worker)),
  };
}
