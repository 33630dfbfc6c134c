/**
 * What the WebAssembly module reads for an update: terms in runs, each run with look-up tables of what every four terms add.
 * A run's tables hold 7-bit digits ("planes") of Σ|q| over a subset of four terms, above a shift that is common to the run;
 * terms of like magnitude share a run, so that E4M3's four significant bits mostly need one plane.
 */
import assert from 'node:assert/strict';
import type { Term } from '../backend.ts';
import { type TermClass, termClasses } from '../term-classes.ts';
import { SKEIN_PARITY, type WordPair } from '../threefry.ts';

/** Bytes of a prepared term: assembly/threefry.ts. */
export const TERM_BYTES = 48;
/** Terms of a run, at most: its sign bits take 32 bytes a term of the module's work space. */
export const RUN_TERMS = 512;
const RUN_BYTES = 16;
/** Where a group's first term says how many of its four terms there are. */
const LIVE_AT = 40;
const TABLE_BYTES = 16;
const DIGIT_BITS = 7;

/** The terms that touch the blocks first, first + stripes, first + 2·stripes, … */
export interface Plan {
  readonly firstBlock: number;
  /** Runs, ended by a run of no groups. */
  readonly bytes: Uint8Array;
  /** Σ|q|, int32. */
  readonly total: number;
}

/** Terms of one run (indices from…to of the sorted terms), and the digits of their tables. */
interface Run {
  readonly from: number;
  readonly to: number;
  readonly planes: number;
  readonly shift: number;
}

/** One plan for each class of blocks that some term touches, ascending. */
export const planUpdate = (terms: readonly Term[], stripes: number): Plan[] =>
  termClasses(terms, stripes).map(planClass);

function planClass({ firstBlock, terms: members }: TermClass): Plan {
  const terms = members.sort((a, b) => Math.abs(b.q) - Math.abs(a.q));
  const runs = cutIntoRuns(terms);
  const bytes = new Uint8Array(runs.reduce((sum, run) => sum + runBytes(run), RUN_BYTES));
  let at = 0;
  for (const run of runs) {
    writeRun(new DataView(bytes.buffer, at, runBytes(run)), run, terms);
    at += runBytes(run);
  }
  return { firstBlock, bytes, total: terms.reduce((sum, { q }) => sum + Math.abs(q), 0) };
}

/** Groups of four terms; an even number, as the module adds up two look-ups at a time. */
const groupsOf = ({ from, to }: Run): number => 2 * Math.ceil((to - from) / 8);
const runBytes = (run: Run): number => RUN_BYTES + groupsOf(run) * (4 * TERM_BYTES + run.planes * TABLE_BYTES);

/** Runs whose cost does not fall by joining neighbours. terms: by descending |q|. */
function cutIntoRuns(terms: readonly Term[]): Run[] {
  const runs: Run[] = [];
  for (let i = 0; i < terms.length; i++) {
    let run = runOf(terms, i, i + 1);
    for (let before = runs.at(-1); before && before.to - before.from < RUN_TERMS; before = runs.at(-1)) {
      const joined = runOf(terms, before.from, run.to);
      if (run.to - before.from > RUN_TERMS || cost(joined) > cost(before) + cost(run)) break;
      runs.pop();
      run = joined;
    }
    runs.push(run);
  }
  return runs;
}

/** Instructions for four blocks, roughly: signs of a group, look-ups of a plane of it; adding up a plane of the run. */
const cost = (run: Run): number => groupsOf(run) * (36 + 88 * run.planes) + 300 * run.planes;

function runOf(terms: readonly Term[], from: number, to: number): Run {
  let bits = 0;
  for (let i = from; i < to; i++) bits |= Math.abs(terms[i]!.q);
  const shift = 31 - Math.clz32(bits & -bits);
  const largest = 4 * (Math.abs(terms[from]!.q) >> shift);
  return { from, to, shift, planes: Math.ceil((32 - Math.clz32(largest)) / DIGIT_BITS) };
}

/** Header (groups, planes, shift), prepared terms, tables plane by plane: assembly/sum.ts reads it. */
function writeRun(view: DataView, run: Run, terms: readonly Term[]): void {
  const groups = groupsOf(run);
  view.setUint32(0, groups, true);
  view.setUint32(4, run.planes, true);
  view.setUint32(8, run.shift, true);
  for (let group = 0; group < groups; group++) {
    const four = terms.slice(run.from + 4 * group, Math.min(run.from + 4 * group + 4, run.to));
    four.forEach(({ roundKey, direction }, t) => {
      prepareTerm(view, RUN_BYTES + (4 * group + t) * TERM_BYTES, roundKey, direction);
    });
    view.setUint32(RUN_BYTES + 4 * group * TERM_BYTES + LIVE_AT, four.length, true);
    for (let index = 0; index < 16; index++) {
      const added = four.reduce((sum, { q }, t) => sum + (((index >> t) & 1) === (q < 0 ? 1 : 0) ? Math.abs(q) : 0), 0);
      for (let plane = 0; plane < run.planes; plane++) {
        const table = RUN_BYTES + groups * 4 * TERM_BYTES + (plane * groups + group) * TABLE_BYTES;
        view.setUint8(table + index, (added >> (run.shift + DIGIT_BITS * plane)) & (2 ** DIGIT_BITS - 1));
      }
    }
  }
}

/** Writes the words of Threefry's key schedule for `direction` under `key`. */
export function prepareTerm(view: DataView, at: number, key: WordPair, direction: number): void {
  const [k0, k1] = key;
  const k2 = k0 ^ k1 ^ SKEIN_PARITY;
  const x1 = (direction + k1) | 0;
  const words = [k0 + x1, (x1 << 13) | (x1 >>> 19), k1, k2 + 1, k2, k0 + 2, k0, k1 + 3, k2 + 4, k0 + 5];
  words.forEach((word, i) => {
    view.setInt32(at + 4 * i, word, true);
  });
}

/** Bytes of a plan of `n` terms, at most. */
export function assertPlanFits(plan: Plan, capacity: number): void {
  assert(plan.bytes.length <= capacity, `a plan of ${plan.bytes.length} bytes, at most ${capacity} fit`);
}
