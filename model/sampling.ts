/** Which token comes next, by its logits. */

export interface SamplingRules {
  /** 0: the likeliest token. Else logits are divided by it before one is drawn. */
  readonly temperature: number;
  /** Draws among the likeliest tokens alone: as few as are this likely together. From above 0 to 1; 1: among all. */
  readonly topP: number;
}

/**
 * A token id, by finite `logits` `[V]`. Of two tokens that are equally likely the first counts as likelier.
 * @param random uniform in [0, 1); not called at temperature 0
 */
export function chooseToken(logits: Float32Array, { temperature, topP }: SamplingRules, random: () => number): number {
  const best = likeliest(logits);
  if (temperature === 0) return best;
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - logits[best]!) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (topP === 1) return drawn(weights.keys(), weights, random() * total);
  // The nucleus of Holtzman et al. 2020 (arXiv 1904.09751), section 3.1.
  const order = Uint32Array.from(weights.keys()).sort((a, b) => weights[b]! - weights[a]! || a - b);
  let nucleus = 0;
  let size = 0;
  while (size < order.length && nucleus < topP * total) nucleus += weights[order[size++]!]!;
  return drawn(order.subarray(0, size), weights, random() * nucleus);
}

function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
  return best;
}

/** The token in whose part of the sum `point` lies; the last likely one where rounding put it beyond. */
function drawn(tokens: Iterable<number>, weights: Float64Array, point: number): number {
  let last = 0;
  let below = 0;
  for (const token of tokens) {
    if (weights[token] === 0) continue;
    last = token;
    below += weights[token]!;
    if (point < below) break;
  }
  return last;
}
