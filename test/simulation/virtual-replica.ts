/** Replicas small enough to be moved thousands of times a second, by the real learning rule and the real directions. */
import { addDirection } from '../../kernels/direction.ts';
import { type Absorbed, absorb, type LearningRule } from '../../kernels/learning-rule.ts';
import { roundingWord, roundKey } from '../../kernels/random-keys.ts';
import { initialReplica, type ReplicaState } from '../../kernels/replica.ts';
import { encodeE4m3 } from '../../proto/e4m3.ts';
import type { Record } from '../../proto/gen/onebyte.ts';

/** d. */
export const ELEMENTS = 16;
/** Directions of one contribution at most. */
export const DIRECTIONS = 4;

export const virtualRule = (seed: number, maxStaleness: number): LearningRule => ({
  seedKey: [seed, 0],
  learningRate: 1e-3,
  decayRounds: 0,
  cap: 64,
  capExponent: 0.5,
  memory: 64,
  winsorise: 'worker',
  window: 8,
  clip: 4,
  directionStripes: 1,
  maxStaleness,
  initialExponent: 0,
});

/** The replica of round 0: `continued` of an adapter that only the trainer has, or as the seed makes it. */
export const startReplica = (rule: LearningRule, continued: boolean): ReplicaState =>
  initialReplica(
    rule,
    Float32Array.from({ length: ELEMENTS }, (_, i) => Math.fround((continued ? -i : i) / ELEMENTS)),
  );

export const copyReplica = ({ theta, normaliser }: ReplicaState): ReplicaState => ({
  theta: theta.slice(),
  normaliser,
});

/** As the reference backend's update, without waiting. */
export function moveReplica(
  { theta }: ReplicaState,
  rule: LearningRule,
  { normaliser, update }: Absorbed,
): ReplicaState {
  if (update) {
    const sum = new Int32Array(theta.length);
    for (const { roundKey: key, direction, q } of update.terms)
      addDirection(sum, q, key, direction, rule.directionStripes);
    for (let i = 0; i < theta.length; i++) theta[i] = theta[i]! - Math.fround(update.scale * sum[i]!);
  }
  return { theta, normaliser };
}

export function applyVirtually(replica: ReplicaState, rule: LearningRule, record: Record): ReplicaState {
  return moveReplica(replica, rule, absorb(replica.normaliser, rule, record));
}

/** What `worker` measures: a pure function of the place, so that a byte that counts elsewhere is found out. */
export function measureVirtually(
  rule: LearningRule,
  worker: number,
  round: number,
  firstDirection: number,
  directions: number,
): Buffer {
  const key = roundKey(rule.seedKey, round, worker);
  return Buffer.from(
    Array.from({ length: directions }, (_, j) => {
      const word = roundingWord(key, firstDirection + j);
      return encodeE4m3((word / 2 ** 31 - 1) * 100, word);
    }),
  );
}
