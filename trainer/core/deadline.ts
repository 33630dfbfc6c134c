/** When a round with a quorum stops waiting: median + 4·MAD of recent arrival times, between a floor and a ceiling. */

/** Arrival times that the estimate looks back on. */
const SAMPLES = 256;
/** Below this many samples the ceiling holds. */
const ENOUGH = 4;

const lowerMedian = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[(values.length - 1) >> 1]!;

/** Times from a round's opening to the arrival of a contribution measured in it, ms; late ones too. Immutable. */
export type ArrivalTimes = readonly number[];

export const withArrival = (arrivals: ArrivalTimes, ms: number): ArrivalTimes => [...arrivals, ms].slice(-SAMPLES);

/** Milliseconds after its opening at which a round with a quorum closes. */
export function deadlineMs(arrivals: ArrivalTimes, floorMs: number, ceilingMs: number): number {
  if (arrivals.length < ENOUGH) return ceilingMs;
  const median = lowerMedian(arrivals);
  const deviation = lowerMedian(arrivals.map((ms) => Math.abs(ms - median)));
  return Math.min(ceilingMs, Math.max(floorMs, median + 4 * deviation));
}
