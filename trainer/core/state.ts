/** What the trainer's core knows, hears and asks for. Time, sockets, disk and random bytes stay with the caller. */
import type { Absorbed, LearningRule, Normaliser } from '../../kernels/learning-rule.ts';
import type { Figures } from '../../proto/evaluation.ts';
import type {
  Contribution,
  EvaluationCounts,
  Heartbeat,
  Hello,
  LogFrame,
  PrivacyBudget,
  Record,
  ReplicaDigest,
  TrainerMessage,
  TrainingLoss,
} from '../../proto/gen/onebyte.ts';
import type { ExitCode } from '../../proto/operating-error.ts';
import type { RecordEntry } from '../../proto/record.ts';
import type { TrainerSettings } from '../../settings/trainer-settings.ts';
import type { Allowances } from './allowance.ts';
import type { ArrivalTimes } from './deadline.ts';
import type { OpenEvaluation } from './evaluation-range.ts';
import type { LastWord } from './last-word.ts';
import type { RoundDetail } from './round-detail.ts';
import type { Progress } from './stopping.ts';

/** Names one stream of one process; the caller makes them up and never uses one twice. */
export type StreamId = number;

/** All that decides how a run goes on, fixed while the trainer runs. */
export interface TrainerRules {
  readonly settings: TrainerSettings;
  readonly learning: LearningRule;
  /** Directions of one contribution at most. */
  readonly directions: number;
  /** Gradients that a record may hold; its members share them. */
  readonly gradientsPerRecord: number;
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

/** Who opened a stream, as far as the caller can tell; the core only compares them. */
export interface Origin {
  readonly connection: string;
  /** Machine, or whatever stands for it in the network. */
  readonly address: string;
}

/** Where the last contribution of a worker ends: the next must be behind it. */
export interface ContributionPlace {
  readonly measuredRound: number;
  readonly nextDirection: number;
  /** Contributions of that measured round so far. */
  readonly contributions: number;
}

/** What a worker has said to the open round. */
export interface Answer {
  /** When the first of it came, ms after the round's opening. */
  readonly ms: number;
  /** Gradient bytes of it in the open record. */
  readonly gradients: number;
}

export interface Member {
  readonly worker: number;
  readonly name: string;
  /** No two memberships of a run have the same. */
  readonly membership: number;
  /** The log knows of this membership: from its first contribution that counts. */
  isNamed: boolean;
  origin: Origin;
  /** What it says that its forward pass runs on; undefined: it did not say. */
  computesOn: string | undefined;
  /** Absent while the worker is disconnected and its lease still runs. */
  stream: StreamId | undefined;
  lastHeardMs: number;
  /** The first round that waits for this member; undefined until it has caught up. */
  expectedFrom: number | undefined;
  /** When it last caught up. */
  readyMs: number;
  /** How soon it answers. */
  arrivals: ArrivalTimes;
  /** How far rounds wait for it: quorum.ts. */
  credit: number;
  /** It has not earned a credit of its own yet. */
  isNewcomer: boolean;
  /** What its minibatches lost, as it said last; undefined where it has said nothing on this stream. */
  trainingLoss: TrainingLoss | undefined;
  /** It said that its privacy budget holds no further contribution. */
  isSpent: boolean;
  /** It said that it evaluates nothing. */
  noEvaluation: boolean;
  /** Ranges of the dev split that it kept waiting for, in a row. */
  missedRanges: number;
  /** Its counts and those of another differed. */
  isDisputed: boolean;
  /** Disputes about counts in which most others said something else. */
  outvoted: number;
  digestMismatches: number;
  /** Records that it says it holds beyond the trainer's, until they are given or found wanting. */
  claim: { readonly rounds: number; gaveAll: boolean } | undefined;
}

/** The first moments of a trainer that opens an old log: no round closes before all who may know more were heard. */
export interface Recovery {
  /** Names of those who were members when the log ended and have not come back. */
  readonly awaited: Set<string>;
  /** Rounds of the run for which a worker showed a record with a valid proof. */
  provenRounds: number;
}

/**
 * Those who were members when the log ended: their leases run on from the restart. As long as they do, no round closes without a
 * quorum of them, so that those who are back first are none by themselves.
 */
export interface Former {
  /** Less those who left since; empty once the leases have run out. */
  readonly names: Set<string>;
  /** When the leases run out; later by what the trainer stood still. */
  untilMs: number;
}

export type Phase = 'training' | 'finalEvaluation' | 'done';

/** The core's state. `step` updates it in place; nobody else does. */
export interface TrainerState {
  readonly rules: TrainerRules;
  readonly epoch: number;
  phase: Phase;
  /** What the members were told as the trainer ended, and every hello since; undefined until then. */
  lastWord: LastWord | undefined;
  /** The replica state beside θ; `normaliser.round` is the open round. */
  normaliser: Normaliser;
  /** The number of every name that ever contributed; these numbers are never given to others. */
  readonly numbers: Map<string, number>;
  /** The last membership of each of these numbers that contributed. */
  readonly memberships: Map<number, number>;
  nextMembership: number;
  /** What is left of the hellos that an origin or a worker may say: names.ts. */
  readonly allowances: Allowances;
  readonly members: Map<number, Member>;
  /** How far rounds wait for members that are newcomers: quorum.ts. */
  newcomersCredit: number;
  /** The last contribution heard of each worker that has a number for good or is a member: the next must be behind it. */
  readonly heard: Map<number, ContributionPlace>;
  /** Workers with gradients in a committed record. */
  readonly contributors: Set<number>;
  readonly workerOfStream: Map<StreamId, number>;
  /** Contributions accepted for the open round, unsorted; staleness relative to it. */
  pending: RecordEntry[];
  /** Gradient bytes in `pending`. */
  pendingGradients: number;
  /** What each worker has said to the open round. */
  readonly answers: Map<number, Answer>;
  /** The most members that were ready at once while the round was open, or have to be before it closes. */
  sharers: number;
  /** Members that the round waited for when that was last counted, less the answers since: at 0 it is counted anew. */
  stillMissing: number;
  openedMs: number;
  /** When the open round closes with a quorum, ms after its opening; settled as it opens. */
  deadlineMs: number;
  /** Opening times of rounds that can still be late: round → ms. */
  readonly openings: Map<number, number>;
  evaluation: OpenEvaluation | undefined;
  readonly progress: Progress;
  /** Why the run ends before its last round; undefined: it does not. */
  stopReason: string | undefined;
  /** Records in a row without one live byte, each of most members. */
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
  readonly former: Former;
  /** Digests that differ from the trainer's: round → worker → digest (hex). */
  readonly deviations: Map<number, Map<number, string>>;
  /** The digest (hex) that most members hold after `round` records, and the log is asked about. */
  doubt: { readonly round: number; readonly sha256: string } | undefined;
  /** Part of the last round that its members waited, 0…1. */
  idleFraction: number;
}

export type Event =
  | { kind: 'hello'; atMs: number; stream: StreamId; origin: Origin; hello: Hello }
  | { kind: 'contribution'; atMs: number; stream: StreamId; contribution: Contribution }
  | { kind: 'recordGiven'; atMs: number; stream: StreamId; record: Record }
  | { kind: 'evaluation'; atMs: number; stream: StreamId; counts: EvaluationCounts }
  | { kind: 'digest'; atMs: number; stream: StreamId; digest: ReplicaDigest }
  | { kind: 'heartbeat'; atMs: number; stream: StreamId; heartbeat: Heartbeat }
  | { kind: 'leave'; atMs: number; stream: StreamId; reason: string }
  | { kind: 'closed'; atMs: number; stream: StreamId }
  | { kind: 'ownDigest'; round: number; sha256: Buffer }
  /** The log was replayed: `sha256` is the digest after `round` records, `normaliser` that after all of them. */
  | { kind: 'logReplayed'; atMs: number; round: number; sha256: Buffer; normaliser: Normaliser }
  | { kind: 'tick'; atMs: number }
  | { kind: 'drain'; atMs: number };

/** Why a stream is ended; the service maps it to a gRPC status. */
export type Refusal =
  | 'invalid'
  | 'config'
  /** The name is another's for as long as a lease. */
  | 'taken'
  /** Too many hellos at once. */
  | 'busy'
  | 'full'
  | 'ahead'
  | 'deviant'
  | 'replaced'
  | 'silent';

/** What the caller must do, in this order, each before the next: an append is durable before anything after it happens. */
export type Effect =
  | { kind: 'append'; frames: LogFrame[] }
  | { kind: 'send'; stream: StreamId; message: TrainerMessage }
  | { kind: 'broadcast'; message: TrainerMessage }
  | { kind: 'refuse'; stream: StreamId; refusal: Refusal; text: string }
  /** Move the trainer's own θ; `digest`: then hand the core its replica digest. */
  | { kind: 'apply'; absorbed: Absorbed; digest: boolean }
  /** Replay the log and bring `logReplayed`, with the digest after `round` records. */
  | { kind: 'replayLog'; round: number }
  /** The trainer's own replica is wrong: take the one that was replayed last. */
  | { kind: 'takeReplayed' }
  /** Keep a copy of the adapter as it is now: an evaluation of it has begun. */
  | { kind: 'keepAdapter' }
  /** Write the current adapter, or (`best`) the kept one, as a checkpoint. */
  | { kind: 'checkpoint'; round: number; best: boolean }
  | { kind: 'report'; report: Report }
  | { kind: 'finish'; exitCode: ExitCode; text: string };

/** What a person or a monitor is told. */
export type Report =
  | { kind: 'joined'; worker: number; name: string; resumed: boolean; computesOn?: string | undefined }
  | { kind: 'left'; worker: number; name: string; reason: string }
  | { kind: 'disconnected'; worker: number; name: string }
  | { kind: 'digest'; worker: number; round: number; sha256: string; agrees: boolean }
  | { kind: 'privacy'; worker: number; privacy: PrivacyBudget }
  | {
      kind: 'round';
      round: number;
      contributions: number;
      gradients: number;
      clipped: number;
      members: number;
      ms: number;
      detail: RoundDetail;
      /** Mean over the members of what they say of their minibatches. */
      trainingLoss?: TrainingLoss | undefined;
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
  | { kind: 'deviant'; worker: number; round: number }
  /** What two members said of the same rows differs too much for both to be right. */
  | { kind: 'disputed'; round: number; firstRow: number; rows: number; workers: readonly number[] }
  /** An evaluation went on, or the run ended, without some rows: nobody told in time. */
  | { kind: 'unevaluated'; round: number; rows: number }
  /** Most members hold another replica than the trainer; its log decides who is right. */
  | { kind: 'doubted'; round: number; members: number }
  | { kind: 'settled'; round: number; isTrainerRight: boolean }
  /** The log holds an evaluation that no dev split can give. */
  | { kind: 'passedOver'; round: number; problem: string };
