/** What loud workers come to under the learning rule: by the bytes alone, without a model. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import seedrandom from 'seedrandom';
import {
  absorb,
  exponentInForce,
  initialNormaliser,
  type LearningRule,
  type Normaliser,
} from '../../kernels/learning-rule.ts';
import { encodeE4m3 } from '../../proto/e4m3.ts';
import { type RecordEntry, recordOf } from '../../proto/record.ts';
import { Learning } from '../../proto/run-config.ts';

const rule: LearningRule = { ...Learning.parse({}), decayRounds: 0, seedKey: [1, 0] };
const K = 8;
const random = seedrandom('winsorise');
/** Sum of twelve: normal enough, sd 1. */
const normal = (): number => Array.from({ length: 12 }, random).reduce((a, b) => a + b, -6);

const entry = (worker: number, bytes: readonly number[]): RecordEntry => ({
  staleness: 0,
  worker,
  firstDirection: 0,
  gradientBytes: Buffer.from(bytes),
});

/** Slopes of a standard deviation of `size` nats, as workers send them. */
const ordinary = (worker: number, normaliser: Normaliser, size = 1): RecordEntry =>
  entry(
    worker,
    Array.from({ length: K }, () =>
      encodeE4m3(normal() * size * 2 ** -exponentInForce(normaliser), Math.floor(random() * 2 ** 32)),
    ),
  );

/** ±448, the largest there are. */
const loud = (worker: number): RecordEntry =>
  entry(
    worker,
    Array.from({ length: K }, () => (random() < 0.5 ? 0x7e : 0xfe)),
  );

/** Absorbs a record of these entries. `energy`: ΣQ² of each worker, as it counts. */
function take(normaliser: Normaliser, entries: readonly RecordEntry[]) {
  const record = recordOf(normaliser.round, exponentInForce(normaliser), entries);
  const absorbed = absorb(normaliser, rule, record);
  const energy = new Map<number, number>();
  for (const { worker, q } of absorbed.update?.terms ?? []) energy.set(worker, (energy.get(worker) ?? 0) + q * q);
  return { ...absorbed, energy };
}

/** So many rounds, each with the entries that are made for it. */
function rounds(normaliser: Normaliser, n: number, entries: (n: Normaliser) => readonly RecordEntry[]): Normaliser {
  let now = normaliser;
  for (let i = 0; i < n; i++) now = take(now, entries(now)).normaliser;
  return now;
}

const workers = (n: number, normaliser: Normaliser): RecordEntry[] =>
  Array.from({ length: n }, (_, worker) => ordinary(worker, normaliser));
const withLoud = (honest: number, liars: number) => (normaliser: Normaliser) => [
  ...workers(honest, normaliser),
  ...Array.from({ length: liars }, (_, i) => loud(honest + i)),
];

it('a third of the members with the largest bytes add less than a tenth of what as many honest ones add', () => {
  const start = rounds(initialNormaliser(rule), 10, (now) => workers(8, now));
  const { energy } = take(start, withLoud(8, 4)(start));
  const sum = (from: number, to: number): number =>
    [...energy].reduce((all, [worker, e]) => (worker >= from && worker < to ? all + e : all), 0);
  assert(sum(8, 12) < 0.1 * sum(0, 4), `${sum(8, 12)} beside ${sum(0, 4)}`);
});

it('no record of loud members, not even where they are most, makes the steps of all later rounds small', () => {
  const start = rounds(initialNormaliser(rule), 10, (now) => workers(8, now));
  const beside = rounds(start, 20, withLoud(8, 4));
  const most = take(beside, withLoud(2, 4)(beside)).normaliser;
  assert(most.vMax < 2 * start.vMax, `${most.vMax} after ${start.vMax}`);
});

it('gradients that grow for all are soon counted in full', () => {
  const start = rounds(initialNormaliser(rule), 10, (now) => workers(8, now));
  const grown = rounds(start, 10, (now) => Array.from({ length: 8 }, (_, worker) => ordinary(worker, now, 10)));
  const { update } = take(
    grown,
    Array.from({ length: 8 }, (_, worker) => ordinary(worker, grown, 10)),
  );
  assert([...update!.clipped].length < 4, `${[...update!.clipped].length} of 8 workers are cut`);
  assert(grown.v > 50, `v is ${grown.v}, of gradients with a mean square of 100`);
});

it('a worker that abstains in part is measured by the bytes that it measured', () => {
  const start = rounds(initialNormaliser(rule), 10, (now) => workers(8, now));
  const entries = workers(8, start);
  const [first, ...others] = entries;
  const half = entry(0, [...first!.gradientBytes.subarray(0, K / 2), ...new Array(K / 2).fill(0x7f)]);
  const { update } = take(start, [half, ...others]);
  assert.equal(update!.terms.length, 8 * K - K / 2);
  const other = (worker: number) => take(start, entries).energy.get(worker);
  for (let worker = 1; worker < 8; worker++)
    assert.equal(take(start, [half, ...others]).energy.get(worker), other(worker));
});
