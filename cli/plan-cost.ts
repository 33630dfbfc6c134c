/** What a run costs, from the time of one contribution: arithmetic alone. Seconds and bytes. */
import { transmissionMs, withHeaders } from '../bench/bandwidth/link.ts';
import type { Probe } from '../processes/step-probe.ts';
import { TrainerMessage, WorkerMessage } from '../proto/gen/onebyte.ts';
import { usageError } from '../proto/operating-error.ts';
import { recordOf } from '../proto/record.ts';
import { untilAnswer } from '../worker/privacy/answer-time.ts';

/** A way between a worker and the trainer, and the trainer's own to all of them. */
export interface Link {
  /** bit/s, either way; Infinity: none is stated. */
  readonly rate: number;
  /** One way, ms. */
  readonly delayMs: number;
}

export const NO_LINK: Link = { rate: Number.POSITIVE_INFINITY, delayMs: 0 };

/** Parses `1mbit,50ms`. @throws OperatingError (usage) */
export function parseLink(text: string): Link {
  const match = /^(\d+(?:\.\d+)?)([kmg])bit,(\d+(?:\.\d+)?)ms$/i.exec(text);
  const rate = Number(match?.[1]) * { k: 1e3, m: 1e6, g: 1e9 }[(match?.[2] ?? 'k').toLowerCase() as 'k' | 'm' | 'g'];
  if (!match || rate === 0)
    throw usageError(`--link ${text}: expected RATE,DELAY, as 1mbit,50ms (kbit, mbit or gbit; one way)`);
  return { rate, delayMs: Number(match[3]) };
}

export interface PlannedRun {
  readonly workers: number;
  readonly rounds: number;
  /** K. */
  readonly directions: number;
  /** d. */
  readonly elements: number;
  readonly devRows: number;
  readonly evaluateEvery: number;
  /** Workers do not wait for a record before they measure on. */
  readonly overlaps: boolean;
  /** `worker.privacy.answerMs`; 0 without a budget. */
  readonly answerMs: number;
}

/** Bytes of a message on a socket beside its own: gRPC's prefix and the header of an HTTP/2 frame. TLS adds 22 a packet. */
const FRAME_BYTES = 5 + 9;

/** Socket bytes of one round, of one worker. */
export function roundBytes({ workers, directions, rounds }: PlannedRun): { up: number; down: number } {
  const gradientBytes = Buffer.alloc(directions, 1);
  const round = rounds - 1;
  const contribution = { measuredRound: round, firstDirection: 0, gradientBytes };
  const entries = Array.from({ length: workers }, (_, worker) => ({ ...contribution, staleness: 0, worker }));
  const up = WorkerMessage.encode({ message: { $case: 'contribution', value: contribution } }).finish().length;
  const record = { ...recordOf(round, 0, entries), proof: Buffer.alloc(32) };
  const down = TrainerMessage.encode({ message: { $case: 'record', value: record } }).finish().length;
  return { up: up + FRAME_BYTES, down: down + FRAME_BYTES };
}

export interface Cost {
  readonly roundSeconds: number;
  /** Evaluations included. */
  readonly runSeconds: number;
}

/** Where every worker has a machine like the measured one, and `link` to the trainer. */
export function costApart(run: PlannedRun, probe: Probe, link: Link): Cost {
  const { up, down } = roundBytes(run);
  const ms = (bytes: number): number => transmissionMs(withHeaders(bytes), link.rate);
  // All records leave by the trainer's own link, and all contributions come by it.
  const travelSeconds = (2 * link.delayMs + (ms(down) + ms(up)) * run.workers) / 1000;
  const work = answered(run, probe.contributionSeconds) + probe.recordSeconds;
  // With staleness a worker measures on while its bytes travel: what is left is what the link can carry.
  const roundSeconds = run.overlaps ? Math.max(work, travelSeconds - 2e-3 * link.delayMs) : work + travelSeconds;
  return { roundSeconds, runSeconds: run.rounds * roundSeconds + evaluationSeconds(run, probe) / run.workers };
}

/** Where `onebyte simulate` runs all of them on the measured machine: they share its cores. */
export function costTogether(run: PlannedRun, probe: Probe): Cost {
  const roundSeconds = answered(run, run.workers * probe.contributionSeconds) + run.workers * probe.recordSeconds;
  return { roundSeconds, runSeconds: run.rounds * roundSeconds + evaluationSeconds(run, probe) };
}

/** Seconds after which an answer leaves that took `seconds` to measure. */
const answered = ({ answerMs }: PlannedRun, seconds: number): number =>
  seconds + untilAnswer(1000 * seconds, answerMs) / 1000;

function evaluationSeconds({ rounds, devRows, evaluateEvery }: PlannedRun, { devRowSeconds }: Probe): number {
  const evaluations = 2 + (evaluateEvery === 0 ? 0 : Math.floor((rounds - 1) / evaluateEvery));
  return evaluations * devRows * (devRowSeconds ?? 0);
}

/** Socket bytes that each worker would send, and get, were float32 gradients of the adapter averaged in every round. */
export const averagingBytes = ({ elements, rounds }: PlannedRun): number => 4 * elements * rounds;

/** Memory of a trainer beside what its process takes before: θ, round 0's matrices, an evaluation's θ, and a snapshot twice. */
export const trainerBytes = ({ elements }: PlannedRun, processBytes: number): number => processBytes + 5 * 4 * elements;
