// Where the time of a whole run went, by its metrics.jsonl.

/**
 * Seconds of `lines` before the first round began, of the rounds, and behind the last record; the median round in ms, and how long an
 * answer of a worker took of it. `start` and `end`: of the command, ms since 1970.
 */
export function phasesOf(lines, start, end) {
  const rounds = lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter(({ kind }) => kind === 'round');
  const [first, last] = [rounds[0], rounds.at(-1)];
  const seconds = (from, to) => Number(((to - from) / 1000).toFixed(2));
  const begun = first.at - first.ms;
  return {
    wholeSeconds: seconds(start, end),
    startSeconds: seconds(start, begun),
    roundsSeconds: seconds(begun, last.at),
    endSeconds: seconds(last.at, end),
    medianRoundMs: median(rounds.map(({ ms }) => ms)),
    medianAnswerMs: median(rounds.flatMap(({ answerMs }) => answerMs ?? [])),
  };
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
