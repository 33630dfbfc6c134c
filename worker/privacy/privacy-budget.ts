/** A worker's privacy budget: the noise that makes it last for the run, and what was spent of it in all runs. */
import type { PrivacyBudget as Stand } from '../../proto/gen/onebyte.ts';
import type { Privacy } from '../../settings/worker-settings.ts';
import type { KeptBudget } from '../core/state.ts';
import { addDivergences, type Divergences, divergencesOf, epsilonOf, noDivergence, noiseFor } from './accountant.ts';
import type { Ledger } from './ledger.ts';
import type { Mechanism } from './mechanism.ts';

export const standText = ({ epsilon, delta, spent }: Stand): string =>
  `ε ${spent.toFixed(2)} of ${epsilon} (δ ${delta})`;

/** What a person is told of a budget that holds no further contribution. */
export const spentText = ({ worker, privacy }: { worker: number; privacy: Stand }): string =>
  `worker ${worker}: its privacy budget is spent: its rows have told ${standText(privacy)}, and one contribution more would pass it; from now on it abstains`;

/** What a person is told as a run begins whose workers have a budget. */
export const beginText = ({ stand, ledger }: KeptBudget): string =>
  `privacy budget: ${standText(stand)} spent so far, in all runs; this one adds to it. The ledger is ${ledger}. A worker with a budget evaluates nothing`;

/** Of several workers' budgets the one whose rows have told most. */
export const mostSpent = (budgets: readonly KeptBudget[]): KeptBudget | undefined =>
  [...budgets].sort((a, b) => b.stand.spent - a.stand.spent)[0];

/** Part of ε below which what is left is not worth a run's noise. */
const LEAST_LEFT = 0.01;

/**
 * What `contributions` more, of `rows` of `size` rows each, are measured with so that they use up what is left of the budget; undefined
 * where too little is left.
 */
export function mechanismFor(
  { epsilon, delta, clip }: Privacy,
  { size, rows }: { readonly size: number; readonly rows: number },
  contributions: number,
  spent: Divergences = noDivergence(),
): Mechanism | undefined {
  if (epsilonOf(spent, delta) > (1 - LEAST_LEFT) * epsilon) return undefined;
  const expectedRows = Math.min(rows, size);
  const samplingRate = expectedRows / size;
  const noise = noiseFor({ epsilon, delta }, samplingRate, contributions, spent);
  return noise === undefined ? undefined : { clip, expectedRows, samplingRate, noise };
}

export class PrivacyBudget {
  mechanism: Mechanism | undefined;
  private readonly settings: Privacy;
  private readonly ledger: Ledger;
  private readonly spent: Divergences = noDivergence();
  private next: Divergences = noDivergence();
  private isPlanned = false;
  /** It did not hold a contribution that was to be measured. */
  private exhausted = false;
  /** Costs that occurred, by their line. */
  private readonly known = new Map<string, Divergences>();

  constructor(settings: Privacy, ledger: Ledger) {
    this.settings = settings;
    this.ledger = ledger;
    this.count();
  }

  /** Divides what is left among the `contributions` that are still to come in the run; once. */
  plan(shard: { readonly size: number; readonly rows: number }, contributions: number): void {
    if (this.isPlanned) return;
    this.isPlanned = true;
    this.count();
    this.mechanism = mechanismFor(this.settings, shard, contributions, this.spent);
    if (this.mechanism) this.next = divergencesOf(this.mechanism);
  }

  /**
   * Spends one contribution: durable when this returns, so that no crash, and no byte that leaves, comes before it.
   * @returns how to measure it; undefined: the budget does not hold one more
   */
  spend(): Mechanism | undefined {
    this.count();
    if (this.mechanism && this.epsilon(this.next) <= this.settings.epsilon) {
      this.ledger.append(this.mechanism);
      this.count();
      // Another process may have spent the last one at the same moment.
      if (this.epsilon() <= this.settings.epsilon) return this.mechanism;
    }
    this.exhausted = true;
    return undefined;
  }

  /** What a person is told. */
  stand(): Stand {
    const { epsilon, delta } = this.settings;
    return { epsilon, delta, spent: this.epsilon(), exhausted: this.exhausted };
  }

  /** ε of what was spent, and of `more`. */
  private epsilon(more: Divergences = noDivergence()): number {
    return epsilonOf(addDivergences(Float64Array.from(this.spent), more), this.settings.delta);
  }

  /** Takes in what the ledger has got since. */
  private count(): void {
    for (const cost of this.ledger.take()) {
      const key = `${cost.samplingRate} ${cost.noise}`;
      const one = this.known.get(key) ?? divergencesOf(cost);
      this.known.set(key, one);
      addDivergences(this.spent, one);
    }
  }
}
