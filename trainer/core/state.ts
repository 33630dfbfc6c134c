/** What the trainer's core knows, hears and asks for. Time, sockets, disk and random bytes stay with the caller. */
import type { Absorbed, LearningRule, Normaliser } from '../../kernels/learning-rule.ts';
import type { Figures } from '../../proto/evaluation.ts';
import type {
  Contribution,
  Evaluation,
  EvaluationCounts,
  Hello,
  LogFrame,
  Notice,
  Record,
  ReplicaDigest,
  TrainerMessage,
} from '../../proto/gen/onebyte.ts';
import type { ExitCode } from '../../proto/operating-error.ts';
import type { RecordEntry } from '../../proto/record.ts';
import type { TrainerSettings } from '../../settings/trainer-settings.ts';
import type { ArrivalTimes } from './deadline.ts';
import type { RoundDetail } from './round-detail.ts';
import type { Progress } from './stopping.ts';

/** Names one stream of one process; the caller makes them up and never uses one twice. */
export type StreamId = number;

/** All that decides how a run goes on, fixed while the trainer runs. */
export interface TrainerRules {
  readonly settings: TrainerSettings;
  readonly learning: LearningRule;
  /** K. */
  readonly directions: number;
  /** Records after which the run is done. */
  readonly rounds: number;
  /** Rows of the dev split; 0: no evaluation. */
  readonly devRows: number;
  readonly runConfigSha256: Buffer;
  /** Secret of the run, from the round log's header: makes record proofs and resume secrets. */
  readonly runSecret: Buffer;
  /** d: what a snapshot costs. */
  readonly adapterElements: number;
  /** The replica of round 0 comes from an adapter that workers do not have. */
  readonly continuesAdapter: boolean;
}

/** Where a contribution stands among those of its worker. */
export interface ContributionPlace {
  readonly measuredRound: number;
  readonly firstDirection: number;
}

export interface Member {
  readonly worker: number;
  readonly name: string;
  /** Absent while the worker is disconnected and its lease still runs. */
  stream: StreamId | undefined;
  lastHeardMs: number;
  /** The first round that waits for this member; undefined until it has caught up. */
  expectedFrom: number | undefined;
  digestMismatches: number;
  /** Records that it says it holds beyond the trainer's, until they are given or found wanting. */
  claim: { readonly rounds: number; gaveAll: boolean } | undefined;
}

/** The first moments of a trainer that opens an old log: no round closes before all who may know more were heard. */
export interface Recovery {
  readonly untilMs: number;
  /** Names of those who were members when the log ended and have not come back. */
  readonly awaited: Set<string>;
  /** Rounds of the run for which a worker showed a record with a valid proof. */
  provenRounds: number;
}

/** Rows of the dev split that one member evaluates. */
export interface EvaluationPart {
  readonly worker: number;
  readonly firstRow: number;
  readonly rows: number;
  counts: EvaluationCounts | undefined;
}

export type Phase = 'training' | 'finalEvaluation' | 'done';

/** The core's state. `step` updates it in place; nobody else does. */
export interface TrainerState {
  readonly rules: TrainerRules;
  readonly epoch: number;
  phase: Phase;
  /** What the members were told as the trainer ended, and every hello since; undefined until then. */
  lastWord: Notice | undefined;
  /** The replica state beside θ; `normaliser.round` is the open round. */
  normaliser: Normaliser;
  /** The number of every name that ever joined; numbers are never reused. */
  readonly numbers: Map<string, number>;
  readonly members: Map<number, Member>;
  /** The last contribution accepted from each worker, whether it is a member now or not: the next must be later. */
  readonly accepted: Map<number, ContributionPlace>;
  readonly workerOfStream: Map<StreamId, number>;
  /** Contributions accepted for the open round, unsorted; staleness relative to it. */
  pending: RecordEntry[];
  /** Gradient bytes in `pending`. */
  pendingGradients: number;
  /** Members that the round waited for when that was last counted, less the contributions since: at 0 it is counted anew. */
  stillMissing: number;
  openedMs: number;
  /** When the open round closes with a quorum, ms after its opening; settled as it opens. */
  deadlineMs: number;
  /** Opening times of rounds that can still be late: round → ms. */
  readonly openings: Map<number, number>;
  arrivals: ArrivalTimes;
  evaluation: { readonly round: number; readonly parts: EvaluationPart[] } | undefined;
  best: Evaluation | undefined;
  readonly progress: Progress;
  /** Why the run ends before its last round; undefined: it does not. */
  stopReason: string | undefined;
  /** Records in a row without one live byte. */
  emptyRecords: number;
  /** The trainer's own replica digests at the rounds where workers send theirs. */
  readonly ownDigests: Map<number, Buffer>;
  /** Live gradient bytes applied. */
  gradients: number;
  lastWaitReportMs: number;
  lastTickMs: number;
  /** The last records, oldest first: what a worker that is a little behind is sent. */
  recent: Record[];
  recovery: Recovery | undefined;
  /** When each worker's first contribution to the open round came, ms after its opening. */
  readonly answeredMs: Map<number, number>;
  /** Digests that differ from the trainer's: round → worker → digest (hex). */
  readonly deviations: Map<number, Map<number, string>>;
  /** Part of the last round that its members waited, 0…1. */
  idleFraction: number;
}

export type Event =
  | { kind: 'hello'; atMs: number; stream: StreamId; hello: Hello }
  | { kind: 'contribution'; atMs: number; stream: StreamId; contribution: Contribution }
  | { kind: 'recordGiven'; atMs: number; stream: StreamId; record: Record }
  | { kind: 'evaluation'; atMs: number; stream: StreamId; counts: EvaluationCounts }
  | { kind: 'digest'; atMs: number; stream: StreamId; digest: ReplicaDigest }
  | { kind: 'heartbeat'; atMs: number; stream: StreamId }
  | { kind: 'leave'; atMs: number; stream: StreamId; reason: string }
  | { kind: 'closed'; atMs: number; stream: StreamId }
  | { kind: 'ownDigest'; round: number; sha256: Buffer }
  | { kind: 'tick'; atMs: number }
  | { kind: 'drain'; atMs: number };

/** Why a stream is ended; the service maps it to a gRPC status. */
export type Refusal = 'invalid' | 'config' | 'name' | 'full' | 'ahead' | 'deviant' | 'replaced' | 'silent';

/** What the caller must do, in this order, each before the next: an append is durable before anything after it happens. */
export type Effect =
  | { kind: 'append'; frames: LogFrame[] }
  | { kind: 'send'; stream: StreamId; message: TrainerMessage }
  | { kind: 'broadcast'; message: TrainerMessage }
  | { kind: 'refuse'; stream: StreamId; refusal: Refusal; text: string }
  /** Move the trainer's own θ; `digest`: then hand the core its replica digest. */
  | { kind: 'apply'; absorbed: Absorbed; digest: boolean }
  /** Keep a copy of the adapter as it is now: an evaluation of it has begun. */
  | { kind: 'keepAdapter' }
  /** Write the current adapter, or (`best`) the kept one, as a checkpoint. */
  | { kind: 'checkpoint'; round: number; best: boolean }
  | { kind: 'report'; report: Report }
  | { kind: 'finish'; exitCode: ExitCode; text: string };

/** What a person or a monitor is told. */
export type Report =
  | { kind: 'joined'; worker: number; name: string; resumed: boolean }
  | { kind: 'left'; worker: number; name: string; reason: string }
  | { kind: 'disconnected'; worker: number; name: string }
  | { kind: 'digest'; worker: number; round: number; sha256: string; agrees: boolean }
  | {
      kind: 'round';
      round: number;
      contributions: number;
      gradients: number;
      clipped: number;
      members: number;
      ms: number;
      detail: RoundDetail;
      /** When this round would have closed without the missing, ms. */
      deadlineMs: number;
      /** Part of the round that the members who answered waited for others, 0…1. */
      idleFraction: number;
    }
  | ({ kind: 'evaluation'; round: number; rows: number; best: boolean } & Figures)
  /** The dev loss has been above its start for so many evaluations. */
  | { kind: 'worse'; round: number; startLoss: number; evaluations: number }
  | { kind: 'waiting'; reason: string }
  | { kind: 'late'; worker: number; measuredRound: number; round: number }
  | { kind: 'recovered'; round: number }
  | { kind: 'deviant'; worker: number; round: number };
