/**
 * The learning rule: how the gradient bytes of a record become a step of θ. A pure function of the bytes; no float that a
 * worker measured enters. test/golden/reference.py is the same rule in Python and makes the golden vectors.
 */
import assert from 'node:assert/strict';
import { DECODED_512, isAbstention, LARGEST_512, MAX_EXPONENT, STEPS_PER_UNIT } from '../proto/e4m3.ts';
import type { Record } from '../proto/gen/onebyte.ts';
import { MAX_GRADIENTS_PER_RECORD } from '../proto/limits.ts';
import { entriesOf, type RecordEntry } from '../proto/record.ts';
import type { Term } from './backend.ts';
import { binaryExponent, powerOfTwo } from './float64.ts';
import { roundKey } from './random-keys.ts';
import type { WordPair } from './threefry.ts';

/** What the learning rate of every record follows from. */
export interface DecayingRate {
  /** Movement of θ per gradient byte of average size. */
  readonly learningRate: number;
  /** N: the rate falls linearly to 1/16 over records 0…N−1; 0: constant. */
  readonly decayRounds: number;
  /** [record, N]: from this record on N is another. By rising record. */
  readonly decayChanges?: readonly (readonly [number, number])[] | undefined;
}

/** The run-level numbers that the rule needs. */
export interface LearningRule extends DecayingRate {
  readonly seedKey: WordPair;
  /** Up to this many gradients in a record each counts in full; with n above it, (cap/n)^capExponent as much. */
  readonly cap: number;
  /** 0, ¼, ½, ¾ or 1. */
  readonly capExponent: number;
  /** Gradients over which the mean square v is averaged. */
  readonly memory: number;
  /** What is winsorised as one: each gradient byte, or all that a worker brings to a record. */
  readonly winsorise: 'byte' | 'worker';
  /** Magnitudes that the winsorising median sees, at least the record's. */
  readonly window: number;
  /** An integer: of a byte alone at most so many medians count, of several together fewer (`winsorise`). */
  readonly clip: number;
  /** m. */
  readonly directionStripes: number;
  readonly maxStaleness: number;
  /** s of round 0. */
  readonly initialExponent: number;
}

/** The replica state beside θ: all that follows from the bytes without the directions. Immutable. */
export interface Normaliser {
  /** Records applied; the next record's number. */
  readonly round: number;
  /** Running mean square of the projected gradients, absolute units; 0 before the first. */
  readonly v: number;
  /** The largest v so far: the step's normaliser never falls. */
  readonly vMax: number;
  /** Exponents in force in rounds round − maxStaleness … round (fewer at the start), oldest first. */
  readonly exponents: readonly number[];
  /** Magnitudes |Q|·2ˢ, root mean squares where bytes are cut as one, newest record first, at most `window`. */
  readonly window: readonly number[];
}

/** A movement of θ: θᵢ ← fround(θᵢ − fround(scale·Σ q·zᵢ)). */
export interface Update {
  readonly terms: readonly LiveTerm[];
  readonly scale: number;
  /** Bytes that were cut, by worker; a worker without any is left out. */
  readonly clipped: ReadonlyMap<number, number>;
}

/** What a record asks of a replica: its next normaliser, and how θ moves (undefined: θ stays). */
export interface Absorbed {
  readonly normaliser: Normaliser;
  readonly update: Update | undefined;
}

/** Bytes of a record that were cut. */
export const clippedGradients = (update: Update | undefined): number =>
  [...(update?.clipped.values() ?? [])].reduce((sum, bytes) => sum + bytes, 0);

export const initialNormaliser = (rule: LearningRule): Normaliser => ({
  round: 0,
  v: 0,
  vMax: 0,
  exponents: [rule.initialExponent],
  window: [],
});

/** The exponent s in force: bytes measured in round `normaliser.round` are E4M3 of g·2⁻ˢ. */
export const exponentInForce = (normaliser: Normaliser): number => normaliser.exponents.at(-1)!;

/** Gradient bytes of a record that are no abstentions. */
export const liveGradients = ({ gradientBytes }: Pick<Record, 'gradientBytes'>): number =>
  gradientBytes.reduce((sum, byte) => (isAbstention(byte) ? sum : sum + 1), 0);

/** True when a contribution measured `staleness` rounds before the open one can still be decoded. */
export const isDecodable = (normaliser: Normaliser, staleness: number): boolean =>
  staleness >= 0 && staleness < normaliser.exponents.length;

/**
 * What `record` asks of a replica.
 * @param entries the record's contributions, for who has unpacked them: sorted by measured round, worker, first direction,
 *   and decodable (`isDecodable`)
 */
export function absorb(
  normaliser: Normaliser,
  rule: LearningRule,
  record: Record,
  entries: readonly RecordEntry[] = entriesOf(record),
): Absorbed {
  assert.equal(record.round, normaliser.round, 'records are absorbed in order');
  assert.equal(record.exponent, exponentInForce(normaliser), `exponent of record ${record.round}`);
  return absorbTerms(normaliser, rule, liveTerms(normaliser, rule, record, entries));
}

/** A gradient byte that is no abstention, and whose it is. */
export interface LiveTerm extends Term {
  readonly worker: number;
}

/** `absorb` of the terms that a record holds, at the exponent in force. Benchmarks of other codecs begin here. */
export function absorbTerms(normaliser: Normaliser, rule: LearningRule, live: readonly LiveTerm[]): Absorbed {
  const exponent = exponentInForce(normaliser);
  const p = powerOfTwo(exponent);
  const n = live.length;
  if (n === 0) return { normaliser: { ...normaliser, ...advance(normaliser, rule, exponent) }, update: undefined };

  const { terms, clipped, window } = winsorise(live, normaliser.window, rule, p);

  const squares = terms.reduce((sum, { q }) => sum + q * q, 0); // an exact integer below 2⁵³
  const meanSquare = (squares / (n * STEPS_PER_UNIT ** 2)) * (p * p);
  const { v: before } = normaliser;
  const v = before === 0 ? meanSquare : before + (n / (n + rule.memory)) * (meanSquare - before);
  if (v === 0)
    return { normaliser: { ...normaliser, ...advance(normaliser, rule, exponent), window }, update: undefined };

  const vMax = Math.max(normaliser.vMax, v);
  const next = clampExponent((binaryExponent(v) >> 1) - 3); // the next bytes have an rms of 5.7 to 11.3
  const scale = updateScale(rule, normaliser.round, n, vMax, p);
  return { normaliser: { ...advance(normaliser, rule, next), v, vMax, window }, update: { terms, scale, clipped } };
}

const clampExponent = (exponent: number): number => Math.max(-MAX_EXPONENT, Math.min(MAX_EXPONENT, exponent));

const advance = (
  normaliser: Normaliser,
  rule: LearningRule,
  nextExponent: number,
): Pick<Normaliser, 'round' | 'exponents'> => ({
  round: normaliser.round + 1,
  exponents: [...normaliser.exponents, nextExponent].slice(-(rule.maxStaleness + 1)),
});

/** The record's bytes that are no abstentions, each Q brought to the exponent in force. */
function liveTerms(
  normaliser: Normaliser,
  rule: LearningRule,
  record: Record,
  entries: readonly RecordEntry[],
): LiveTerm[] {
  const terms: LiveTerm[] = [];
  for (const { staleness, worker, firstDirection, gradientBytes } of entries) {
    assert(isDecodable(normaliser, staleness), `record ${record.round} holds bytes ${staleness} rounds old`);
    const measuredRound = record.round - staleness;
    const shift = normaliser.exponents.at(-1 - staleness)! - record.exponent;
    const key = roundKey(rule.seedKey, measuredRound, worker);
    gradientBytes.forEach((byte, i) => {
      if (isAbstention(byte)) return;
      terms.push({ worker, roundKey: key, direction: firstDirection + i, q: requantise(DECODED_512[byte]!, shift) });
    });
  }
  assert(terms.length <= MAX_GRADIENTS_PER_RECORD, `record ${record.round} holds ${terms.length} gradients`);
  return terms;
}

/** A shift to the left by so many bits, or more, saturates every value but 0. */
const SATURATING_SHIFT = binaryExponent(LARGEST_512);

/** 512 × value under exponent s + shift → under exponent s: left (saturating at 448·512), or right toward zero. */
function requantise(q: number, shift: number): number {
  const magnitude =
    shift >= 0
      ? Math.min(Math.abs(q) * powerOfTwo(Math.min(shift, SATURATING_SHIFT)), LARGEST_512)
      : Math.abs(q) >> Math.min(-shift, 31);
  return q >= 0 ? magnitude : -magnitude;
}

/** What is winsorised as one: a gradient byte, or all that a worker brings to a record. */
interface Group {
  readonly terms: readonly LiveTerm[];
  /** Root mean square of their Q; of one byte exactly |Q|. */
  readonly rms: number;
}

/** In the order of the record. */
function groupsOf(live: readonly LiveTerm[], { winsorise: by }: LearningRule): Group[] {
  const groups = new Map<number, LiveTerm[]>();
  live.forEach((term, i) => {
    const key = by === 'worker' ? term.worker : i;
    const terms = groups.get(key);
    if (terms) terms.push(term);
    else groups.set(key, [term]);
  });
  return Array.from(groups.values(), (terms) => {
    const squares = terms.reduce((sum, { q }) => sum + q * q, 0); // an exact integer below 2⁵³
    return { terms, rms: Math.sqrt(squares / terms.length) };
  });
}

/**
 * Shortens what is louder than others are, by lower medians of the magnitudes of this record and of those before it. Of a byte
 * alone `clip` medians count, of n bytes together 1 + (clip − 1)/n: the more they are, the less of their root mean square is
 * chance. By worker, what is louder than `clip` medians counts for less the louder it is, as no honest worker is so for long.
 */
function winsorise(
  live: readonly LiveTerm[],
  earlier: readonly number[],
  rule: LearningRule,
  p: number,
): Pick<Update, 'terms' | 'clipped'> & Pick<Normaliser, 'window'> {
  const groups = groupsOf(live, rule);
  const seen = [...groups.map(({ rms }) => rms * p), ...earlier].slice(0, Math.max(groups.length, rule.window));
  const median = Float64Array.from(seen).sort()[(seen.length - 1) >> 1]!;
  // At least 1, so that zeros cannot freeze a run.
  const limitOf = (medians: number): number => Math.max(1, Math.floor((medians * median) / p));
  const loudest = rule.winsorise === 'worker' ? limitOf(rule.clip) : Infinity;
  const clipped = new Map<number, number>();
  const terms = groups.flatMap(({ terms, rms }) => {
    const limit = limitOf(1 + (rule.clip - 1) / terms.length);
    if (rms <= limit) return terms;
    for (const { worker } of terms) clipped.set(worker, (clipped.get(worker) ?? 0) + 1);
    const counted = rms > loudest ? (limit * loudest) / rms : limit;
    return terms.map((term) => ({ ...term, q: Math.trunc((term.q * counted) / rms) }));
  });
  return { terms, clipped, window: seen.slice(0, rule.window) };
}

/** The learning rate of record `round`: it falls linearly to 1/16 over N records; N = 0: constant. */
export function rateOf({ learningRate, decayRounds, decayChanges = [] }: DecayingRate, round: number): number {
  const N = decayChanges.findLast(([from]) => from <= round)?.[1] ?? decayRounds;
  return N > 0 ? learningRate * Math.max((N - round) / N, 1 / 16) : learningRate;
}

/** c = rate/√v_max · (cap/n)^capExponent if n > cap · 2ˢ · √m / 512, in this order of operations. */
function updateScale(rule: LearningRule, round: number, n: number, vMax: number, p: number): number {
  let c = rateOf(rule, round) / Math.sqrt(vMax);
  if (n > rule.cap) c *= powerOfQuarters(rule.cap / n, rule.capExponent);
  return (c * p * Math.sqrt(rule.directionStripes)) / STEPS_PER_UNIT;
}

/** x^exponent for an exponent of 0, ¼, ½, ¾ or 1, by √ and × alone. */
function powerOfQuarters(x: number, exponent: number): number {
  const root = Math.sqrt(x);
  switch (exponent) {
    case 0:
      return 1;
    case 0.25:
      return Math.sqrt(root);
    case 0.5:
      return root;
    case 0.75:
      return root * Math.sqrt(root);
    case 1:
      return x;
    default:
      assert.fail(`capExponent ${exponent}`);
  }
}
