/** When the answer of a worker with a privacy budget leaves: how long its rows took is theirs. */

/** ms until a whole number of slots of `answerMs`, at least one, has passed; 0: at once. */
export const untilAnswer = (passedMs: number, answerMs: number): number =>
  answerMs === 0 ? 0 : answerMs * Math.max(1, Math.ceil(passedMs / answerMs)) - passedMs;
