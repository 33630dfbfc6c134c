/**
 * What many contributions with Gaussian noise and Poisson-sampled rows cost together: (ε, δ) by Rényi differential privacy (Mironov 2017).
 * Neighbours differ by one row that is there or not. Bounds, not estimates: tighter accountants give a somewhat smaller ε.
 */

/** One contribution. */
export interface Cost {
  /** Probability with which each row is drawn. */
  readonly samplingRate: number;
  /** Standard deviation of the noise, in clips (the largest L2 norm that one row has in the sum). */
  readonly noise: number;
}

export interface Budget {
  readonly epsilon: number;
  readonly delta: number;
}

/** Rényi orders α at which costs are kept: dense where budgets of ε from 0.1 to 10 are decided. */
const ORDERS: readonly number[] = [
  ...Array.from({ length: 39 }, (_, i) => 1.25 + i / 4),
  ...Array.from({ length: 53 }, (_, i) => 11 + i),
  ...[80, 128, 256, 512],
];

/** Rényi divergences at all orders, nats; those of contributions add up. `[orders]` */
export type Divergences = Float64Array;

export const noDivergence = (): Divergences => new Float64Array(ORDERS.length);

/** What one contribution adds. */
export const divergencesOf = (cost: Cost): Divergences => Float64Array.from(ORDERS, (order) => divergence(cost, order));

/** Adds `count` contributions of `one` to `sum`, in place. */
export function addDivergences(sum: Divergences, one: Divergences, count = 1): Divergences {
  for (const [i, value] of one.entries()) sum[i]! += count * value;
  return sum;
}

/**
 * D_α of N(0, σ²) mixed with N(1, σ²) at rate q from N(0, σ²): log E[(1 − q + q·exp((2x − 1)/2σ²))^α] / (α − 1), the larger of both
 * directions (Mironov, Talwar, Zhang 2019, theorem 5). The integrand is smooth and falls like a Gaussian, so the trapezoid rule is exact to rounding.
 */
function divergence({ samplingRate: q, noise }: Cost, order: number): number {
  if (q === 0) return 0;
  const variance = noise * noise;
  if (q === 1) return order / (2 * variance);
  const [from, to] = [-12 * noise, order + 12 * noise];
  const points = Math.ceil((to - from) / Math.min(noise / 8, variance / 2));
  const width = (to - from) / points;
  const logs = Float64Array.from({ length: points + 1 }, (_, i) => {
    const x = from + i * width;
    return order * logRatio(q, (2 * x - 1) / (2 * variance)) - (x * x) / (2 * variance);
  });
  const largest = logs.reduce((a, b) => Math.max(a, b));
  const sum = logs.reduce((total, log) => total + Math.exp(log - largest), 0);
  return Math.max(0, largest + Math.log((sum * width) / (noise * Math.sqrt(2 * Math.PI)))) / (order - 1);
}

/** log(1 − q + q·eᵘ). */
const logRatio = (q: number, u: number): number =>
  u > 30 ? u + Math.log(q + (1 - q) * Math.exp(-u)) : Math.log1p(q * Math.expm1(u));

/** The least ε that holds with δ (Canonne, Kamath, Steinke 2020, proposition 12). */
export function epsilonOf(divergences: Divergences, delta: number): number {
  const bounds = ORDERS.map(
    (order, i) => divergences[i]! + Math.log1p(-1 / order) - (Math.log(delta) + Math.log(order)) / (order - 1),
  );
  return divergences.every((value) => value === 0) ? 0 : Math.max(0, Math.min(...bounds));
}

/** Noise beyond which nothing is looked for, either way, in clips. */
export const LEAST_NOISE = 0.2;
export const MOST_NOISE = 1e6;

/**
 * The least noise, to a thousandth, with which `contributions` more stay within `budget`; undefined where no noise does.
 * @param spent what earlier contributions cost
 */
export function noiseFor(
  budget: Budget,
  samplingRate: number,
  contributions: number,
  spent: Divergences = noDivergence(),
): number | undefined {
  const isWithin = (noise: number): boolean => {
    const all = addDivergences(Float64Array.from(spent), divergencesOf({ samplingRate, noise }), contributions);
    return epsilonOf(all, budget.delta) <= budget.epsilon;
  };
  let [low, high] = [LEAST_NOISE, 2 * LEAST_NOISE];
  while (!isWithin(high)) {
    [low, high] = [high, 2 * high];
    if (high > MOST_NOISE) return undefined;
  }
  while (high / low > 1.001) {
    const middle = Math.sqrt(low * high);
    if (isWithin(middle)) high = middle;
    else low = middle;
  }
  return high;
}
