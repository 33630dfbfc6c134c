/** A replica: θ and its normaliser, moved by records alone. Workers, trainer, joiners and auditors all hold one of these. */
import { createHash } from 'node:crypto';
import type { Record } from '../proto/gen/onebyte.ts';
import type { Backend } from './backend.ts';
import { type Absorbed, absorb, initialNormaliser, type LearningRule, type Normaliser } from './learning-rule.ts';

/** The replica state after `normaliser.round` records. */
export interface ReplicaState {
  /** θ, float32 `[d]`. Updated in place by `applyRecord`. */
  readonly theta: Float32Array;
  readonly normaliser: Normaliser;
  /**
   * A of every module, one after another, where it is neither trained nor made from the seed: in a run that trains B alone of an
   * adapter it continues. Never changes.
   */
  readonly frozenA?: Float32Array | undefined;
}

export const initialReplica = (rule: LearningRule, theta: Float32Array, frozenA?: Float32Array): ReplicaState => ({
  theta,
  normaliser: initialNormaliser(rule),
  frozenA,
});

/** The state after `record`. θ is updated in place: the state given is spent. */
export async function applyRecord(
  state: ReplicaState,
  rule: LearningRule,
  record: Record,
  backend: Backend,
): Promise<ReplicaState> {
  return await moveReplica(state, rule, absorb(state.normaliser, rule, record), backend);
}

/** As `applyRecord`, of a record that is absorbed already: the only place that moves θ. */
export async function moveReplica(
  state: ReplicaState,
  rule: LearningRule,
  { normaliser, update }: Absorbed,
  backend: Backend,
): Promise<ReplicaState> {
  if (update) await backend.update(state.theta, update.terms, update.scale, rule.directionStripes);
  return { ...state, normaliser };
}

/** sha-256 of θ alone, hex: the adapter digest. */
export const adapterDigest = (theta: Float32Array): string => createHash('sha256').update(bytesOf(theta)).digest('hex');

/** sha-256 of the whole replica state: θ, v, v_max, the kept exponents (int8, oldest first), the window (float64), the frozen A. */
export function replicaDigest({ theta, normaliser, frozenA = new Float32Array() }: ReplicaState): Buffer {
  const { v, vMax, exponents, window } = normaliser;
  return createHash('sha256')
    .update(bytesOf(theta))
    .update(bytesOf(Float64Array.of(v, vMax)))
    .update(Int8Array.from(exponents))
    .update(bytesOf(Float64Array.from(window)))
    .update(bytesOf(frozenA))
    .digest();
}

/** The little-endian bytes of a typed array, without a copy. The machines that run Node.js are little endian. */
export const bytesOf = (array: Float32Array | Float64Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
