/** The rows of a worker with a privacy budget: a contribution of them is paid for, then measured. */
import { existsSync, realpathSync } from 'node:fs';
import type { ReplicaState } from '../../kernels/replica.ts';
import type { TokenRow } from '../../model/token-row.ts';
import { ABSTAIN } from '../../proto/e4m3.ts';
import type { PrivacyBudget as Stand } from '../../proto/gen/onebyte.ts';
import { usageError } from '../../proto/operating-error.ts';
import type { Privacy } from '../../settings/worker-settings.ts';
import type { KeptBudget } from '../core/state.ts';
import { gradientBytes } from '../estimators/contribution.ts';
import type { EstimatorContext } from '../estimators/estimator.ts';
import { Ledger } from './ledger.ts';
import { privateGradients } from './mechanism.ts';
import { PrivacyBudget } from './privacy-budget.ts';
import { secretRandom } from './random-source.ts';

export interface ShardPlace {
  readonly trainFiles: readonly string[];
  readonly shard: number;
  readonly shards: number;
  /** Records after which the run is done: the budget is to last so long. */
  readonly rounds: number;
}

export class PrivateShard {
  private readonly rows: readonly TokenRow[];
  private readonly ledger: Ledger;
  private readonly rounds: number;
  private readonly random = secretRandom();
  private readonly directory: string;
  private readonly budget: PrivacyBudget;

  /**
   * @throws OperatingError usage: a δ that is no protection, no place for the ledger or two; durableStore: a damaged ledger
   */
  constructor(settings: Privacy, { trainFiles, rounds, ...part }: ShardPlace, rows: readonly TokenRow[]) {
    const { delta, ledger } = settings;
    if (delta * rows.length >= 1)
      throw usageError(
        `worker.privacy.delta ${delta}: expected less than 1 / rows, of ${rows.length} rows: it is the chance that one of them is told whole`,
      );
    if (ledger === undefined && trainFiles.length > 1)
      throw usageError(
        'worker.privacy.ledger: missing; with several training files expected a directory that keeps what was told of their rows',
      );
    this.rows = rows;
    this.rounds = rounds;
    this.directory = ledger ?? ledgerBeside(trainFiles[0]!);
    this.ledger = Ledger.open({ directory: this.directory, ...part });
    this.budget = new PrivacyBudget(settings, this.ledger);
  }

  /** What was spent so far. */
  kept(): KeptBudget {
    return { stand: this.budget.stand(), ledger: this.directory };
  }

  /** Spends one contribution of the budget first; where it does not hold one more, every byte abstains. */
  async measure(
    context: EstimatorContext,
    replica: ReplicaState,
    firstDirection: number,
  ): Promise<{ gradientBytes: Buffer; privacy: Stand }> {
    const { directions, rows } = context.learning;
    const left = this.rounds - replica.normaliser.round;
    this.budget.plan({ size: this.rows.length, rows }, left);
    const mechanism = this.budget.spend();
    const privacy = this.budget.stand();
    if (!mechanism) return { gradientBytes: Buffer.alloc(directions, ABSTAIN), privacy };
    const gradients = await privateGradients(context, replica, firstDirection, this.rows, mechanism, this.random);
    return { gradientBytes: gradientBytes(context, replica, firstDirection, gradients), privacy };
  }

  close(): void {
    this.ledger.close();
  }
}

/**
 * The ledger beside the file itself, by whatever link it was named: its rows are the same.
 * @throws OperatingError usage: there is one beside the link, where they lay once, and what it holds would not be counted
 */
function ledgerBeside(file: string): string {
  const [beside, linked] = [`${realpathSync(file)}.privacy`, `${file}.privacy`];
  if (existsSync(linked) && realpathSync(linked) !== beside)
    throw usageError(
      `${linked}: a ledger beside a link, expected ${beside}, beside the data file itself; move its lines there, or name it in worker.privacy.ledger`,
    );
  return beside;
}
