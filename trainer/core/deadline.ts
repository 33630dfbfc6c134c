/**
 * When a round with a quorum stops waiting: median + 4·MAD of the members' arrival times, between a floor and a ceiling.
 * Each member counts once, by the medians of its own times, so that one of them cannot move the estimate by its messages.
 */

/** Arrival times of one member that the estimate looks back on. */
const SAMPLES = 8;
/** Below this many samples of all members the ceiling holds. */
const ENOUGH = 4;

export const lowerMedian = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[(values.length - 1) >> 1]!;

/**
 * Times from a round's opening to the arrival of a member's first contribution measured in it, ms: one a round, late ones
 * too. Immutable.
 */
export type ArrivalTimes = readonly number[];

export const withArrival = (arrivals: ArrivalTimes, ms: number): ArrivalTimes => [...arrivals, ms].slice(-SAMPLES);

/**
 * Milliseconds after its opening at which a round with a quorum closes.
 * @param members the times of each member; undefined is returned when they are too few to tell
 */
export function usualDeadlineMs(members: readonly ArrivalTimes[]): number | undefined {
  const heard = members.filter(({ length }) => length > 0);
  if (heard.reduce((sum, { length }) => sum + length, 0) < ENOUGH) return undefined;
  const median = lowerMedian(heard.map(lowerMedian));
  const deviation = lowerMedian(heard.map((times) => lowerMedian(times.map((ms) => Math.abs(ms - median)))));
  return median + 4 * deviation;
}
