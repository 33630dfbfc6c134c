/** What the worker's core knows, hears and asks for. Time, jitter, the stream and all numbers come from the caller. */
import type {
  Contribution,
  EvaluationCounts,
  EvaluationRequest,
  PrivacyBudget,
  Record,
  ReplicaDigest,
  TrainerMessage,
  WorkerMessage,
} from '../../proto/gen/onebyte.ts';
import type { ExitCode } from '../../proto/operating-error.ts';

export interface WorkerRules {
  readonly name: string;
  readonly requestedWorker: number | undefined;
  /** The secret of the last welcome that an earlier process of this worker had; empty: none is known. */
  readonly resumeSecret: Buffer;
  /** A trainer not reached for so long ends the worker. */
  readonly giveUpMs: number;
}

/** What the core needs of the run config and of the worker's own choices. */
export interface RunTerms {
  readonly runConfigSha256: Buffer;
  /** K of this worker. */
  readonly directions: number;
  readonly maxStaleness: number;
  /** Its rows have a privacy budget: it contributes once a round, which the budget is planned for, and evaluates nothing. */
  readonly isPrivate: boolean;
  /** What this worker tells of its device. */
  readonly computesOn: string;
}

/** What is known once the worker's shard is read. */
export interface DataReport {
  readonly rows: number;
  readonly truncated: number;
  readonly merged: number;
  /** Of a worker with a privacy budget. */
  readonly budget?: KeptBudget | undefined;
}

/** How a privacy budget stands, and the directory of the ledger that says so. */
export interface KeptBudget {
  readonly stand: PrivacyBudget;
  readonly ledger: string;
}

/** Sums over the rows of minibatches. */
export interface Losses {
  /** Nats. */
  readonly lossSum: number;
  readonly rows: number;
  /** That are learnt. */
  readonly tokens: number;
}

export interface Measured {
  readonly contribution: Contribution;
  /** Of a worker with a privacy budget: how that stands then. */
  readonly privacy: PrivacyBudget | undefined;
  /** What the minibatch lost; never known of a worker with a privacy budget, which would tell of its rows by it. */
  readonly losses: Losses | undefined;
}

/** One call of the compute; it answers with `computed` and is given no other before. */
export type Task =
  | { kind: 'readData'; worker: number; devRows: number; rounds: number }
  | { kind: 'digest'; purpose: 'hello' | 'report' }
  | { kind: 'restore'; bytes: Uint8Array }
  | { kind: 'apply'; record: Record }
  | { kind: 'measure'; firstDirection: number }
  | { kind: 'evaluate'; request: EvaluationRequest };

export type TaskResult =
  | { kind: 'readData'; data: DataReport }
  | { kind: 'digest'; digest: ReplicaDigest }
  | { kind: 'restore'; digest: ReplicaDigest }
  | { kind: 'apply'; round: number }
  | ({ kind: 'measure' } & Measured)
  | { kind: 'evaluate'; counts: EvaluationCounts };

/**
 * away: no stream; connecting: one is asked for; greeting: until the welcome; catchingUp: a snapshot is awaited, messages
 * wait; working; over: the core wants no more.
 */
export type WorkerPhase = 'away' | 'connecting' | 'greeting' | 'catchingUp' | 'working' | 'over';

/** The core's state. `step` updates it in place; nobody else does. */
export interface WorkerState {
  readonly rules: WorkerRules;
  terms: RunTerms | undefined;
  phase: WorkerPhase;
  /** Streams so far: what was asked for one stream does not answer on the next. */
  session: number;
  worker: number | undefined;
  resumeSecret: Buffer;
  /** The newest trainer followed. */
  epoch: number | undefined;
  /** Records after which the run is done. */
  rounds: number;
  /** Rows of the trainer's dev split. */
  devRows: number;
  /** Records applied. */
  round: number;
  /** False from when a snapshot is asked for until one is restored: no trainer may take the replica for the run's. */
  holdsRun: boolean;
  /** A digest is owed once so many records are applied. */
  digestAt: number | undefined;
  /** First direction of the next contribution of this round. */
  nextDirection: number;
  /** How the privacy budget stands; undefined before the data is read, and without one. */
  privacy: PrivacyBudget | undefined;
  /** What the minibatches lost since the trainer was told last. */
  untold: Losses;
  /** This trainer was told of some. */
  toldLosses: boolean;
  /** Messages not yet handled, in order. */
  inbox: TrainerMessage[];
  /** Tasks that come before the inbox. */
  todo: Task[];
  /** What the compute is at, and for which stream. */
  running: { readonly task: Task; readonly session: number } | undefined;
  /** The last records applied, oldest first, with their proofs: a trainer whose log lost some asks for them. */
  recent: Record[];
  lastContactMs: number;
  backoffMs: number;
}

export type WorkerEvent =
  | { kind: 'start' }
  /** A stream is open; the model is loaded. */
  | { kind: 'opened'; atMs: number; terms: RunTerms }
  | { kind: 'message'; atMs: number; message: TrainerMessage }
  | { kind: 'snapshot'; bytes: Uint8Array }
  | { kind: 'computed'; result: TaskResult }
  /** The stream or the way to the trainer broke. `jitter`: uniform in 0…1. */
  | { kind: 'lost'; atMs: number; reason: string; jitter: number }
  /** The trainer said no. */
  | { kind: 'refused'; text: string }
  | { kind: 'retry' }
  | { kind: 'heartbeat' }
  | { kind: 'drain' };

/** What the caller must do, in this order. */
export type WorkerEffect =
  /** Open a stream: `opened`, `lost` or `refused` follows. */
  | { kind: 'connect' }
  | { kind: 'send'; message: NonNullable<WorkerMessage['message']> }
  /** Say no more on the stream, and hear nothing of it. */
  | { kind: 'hangUp' }
  /** Bring `heartbeat` so often until the stream ends. */
  | { kind: 'heartbeatEvery'; ms: number }
  /** `snapshot`, `lost` or `refused` follows. */
  | { kind: 'fetchSnapshot' }
  | { kind: 'compute'; task: Task }
  | { kind: 'retryIn'; ms: number }
  /** Keep this for the process that takes this one's place, should it die. */
  | { kind: 'keepSecret'; secret: Buffer }
  | { kind: 'report'; report: CoreReport }
  | { kind: 'finish'; exitCode: ExitCode; text: string };

/** What a person is told. */
export type CoreReport =
  | { kind: 'joined'; worker: number; round: number; data: DataReport }
  | { kind: 'snapshot'; round: number; bytes: number }
  | { kind: 'round'; round: number }
  | { kind: 'late'; text: string }
  /** Its privacy budget holds no further contribution: from now on it abstains. */
  | { kind: 'spent'; worker: number; privacy: PrivacyBudget }
  | { kind: 'retrying'; reason: string; waitMs: number };

export const NO_LOSSES: Losses = { lossSum: 0, rows: 0, tokens: 0 };

export const initialWorker = (rules: WorkerRules, atMs: number): WorkerState => ({
  rules,
  terms: undefined,
  phase: 'away',
  session: 0,
  worker: undefined,
  resumeSecret: rules.resumeSecret,
  epoch: undefined,
  rounds: 0,
  devRows: 0,
  round: 0,
  holdsRun: true,
  digestAt: undefined,
  nextDirection: 0,
  privacy: undefined,
  untold: NO_LOSSES,
  toldLosses: false,
  inbox: [],
  todo: [],
  running: undefined,
  recent: [],
  lastContactMs: atMs,
  backoffMs: 0,
});
