/** How a worker that says hello comes to the trainer's round: by the records it lacks, or by a snapshot. */
import { type Hello, type Record, Welcome_CatchUp } from '../../proto/gen/onebyte.ts';
import type { TrainerState } from './state.ts';

/** Estimates: a slow link, and what one core applies. */
const LINK_BYTES_PER_S = 1e6;
const SIGNS_PER_S = 1e9;

/**
 * Records are for a worker whose past is the trainer's: it joined this very trainer before, or its digest is the
 * trainer's. All others (an older epoch, nothing yet, a replica that differs) get a snapshot.
 */
export function catchUpOf(state: TrainerState, { replica, epoch }: Hello): Welcome_CatchUp {
  const { round } = state.normaliser;
  if (!replica) return round === 0 && !state.rules.continuesAdapter ? Welcome_CatchUp.NONE : Welcome_CatchUp.SNAPSHOT;
  if (replica.round > round) return Welcome_CatchUp.GIVE_RECORDS;
  const own = state.ownDigests.get(replica.round);
  const trusted = own ? Buffer.compare(own, replica.sha256) === 0 : epoch === state.epoch;
  if (!trusted) return Welcome_CatchUp.SNAPSHOT;
  if (replica.round === round) return Welcome_CatchUp.NONE;
  const records = recordsFrom(state, replica.round);
  return records && replaySeconds(records, state.rules.adapterElements) <= snapshotSeconds(state)
    ? Welcome_CatchUp.RECORDS
    : Welcome_CatchUp.SNAPSHOT;
}

/** The committed records from `round` on; undefined when not all are at hand. */
export function recordsFrom({ recent, normaliser }: TrainerState, round: number): Record[] | undefined {
  const missing = normaliser.round - round;
  return missing <= recent.length ? recent.slice(recent.length - missing) : undefined;
}

const snapshotSeconds = ({ rules }: TrainerState): number =>
  (4 * rules.adapterElements + 8 * rules.learning.window) / LINK_BYTES_PER_S;

function replaySeconds(records: readonly Record[], elements: number): number {
  const sum = (of: (record: Record) => number): number => records.reduce((total, record) => total + of(record), 0);
  const gradients = sum(({ gradientBytes }) => gradientBytes.length);
  const bytes = gradients + sum(({ workers }) => 16 + 4 * workers.length);
  return bytes / LINK_BYTES_PER_S + (gradients * elements) / SIGNS_PER_S;
}
