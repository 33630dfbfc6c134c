/** The reference backend and the learning rule against the vectors that test/golden/reference.py made. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { direction } from '../../kernels/direction.ts';
import { initialAdapter } from '../../kernels/initial-adapter.ts';
import { exponentInForce, type LearningRule } from '../../kernels/learning-rule.ts';
import { roundKey } from '../../kernels/random-keys.ts';
import { referenceBackend } from '../../kernels/reference.ts';
import { adapterDigest, applyRecord, initialReplica } from '../../kernels/replica.ts';
import { threefry, type WordPair } from '../../kernels/threefry.ts';
import { DECODED_512, encodeE4m3, isAbstention } from '../../proto/e4m3.ts';
import { type RecordEntry, recordOf } from '../../proto/record.ts';
import { goldenFiles } from '../support/onebyte.ts';

// Made by: python3 test/golden/reference.py
const golden = JSON.parse(readFileSync(join(goldenFiles, 'golden.json'), 'utf8'));

const word = (hex: string): number => Number.parseInt(hex, 16);
const words = ([a, b]: [string, string]): WordPair => [word(a), word(b)];

/** Bytes `[measured round, worker, direction, byte]` as contributions: each as many directions as follow one another. */
function entriesOfBytes(round: number, bytes: readonly [number, number, number, number][]): RecordEntry[] {
  const entries: RecordEntry[] = [];
  for (const [measured, worker, direction, byte] of bytes) {
    const last = entries.at(-1);
    const next = last && last.firstDirection + last.gradientBytes.length;
    if (last?.worker === worker && last.staleness === round - measured && next === direction)
      entries[entries.length - 1] = { ...last, gradientBytes: Buffer.concat([last.gradientBytes, Buffer.of(byte)]) };
    else
      entries.push({ staleness: round - measured, worker, firstDirection: direction, gradientBytes: Buffer.of(byte) });
  }
  return entries;
}

describe('Threefry-2x32', () => {
  it('gives the published and the golden outputs', () => {
    for (const { key, ctr, out } of golden.threefry)
      assert.deepEqual(threefry(words(key), word(ctr[0]), word(ctr[1])), words(out));
  });
});

describe('a direction', () => {
  for (const g of golden.directions)
    it(`is the golden one at d = ${g.d}, stripes ${g.stripes}, round ${g.round}`, () => {
      const z = direction(roundKey(words(g.runSeed), g.round, g.worker), g.direction, g.d, g.stripes);
      assert.equal(Array.from(z, (sign) => '-0+'[sign + 1]).join(''), g.z);
    });
});

describe('the gradient byte', () => {
  it('decodes to the golden integers', () => {
    golden.decode512.forEach((expected: number | null, byte: number) => {
      if (expected === null) assert(isAbstention(byte));
      else assert.equal(DECODED_512[byte], expected);
    });
  });
  it('is encoded with the golden stochastic rounding', () => {
    for (const { x, negativeZero, u32, stochastic } of golden.encode)
      assert.equal(encodeE4m3(negativeZero ? -0 : x, word(u32)), stochastic, `${x} with ${u32}`);
  });
});

describe('a replica', () => {
  for (const log of golden.logs)
    it(`goes through the golden log (${log.script}, stripes ${log.stripes}, decay ${log.decayRounds}, cap exponent ${log.capExponent}, winsorised by ${log.winsorise})`, async () => {
      const key = words(log.runSeed);
      const modules = log.modules_rank_in_out.map(([rank, fanIn, fanOut]: number[], i: number) => ({
        name: `m${i}`,
        rank,
        fanIn,
        fanOut,
        scale: 1,
      }));
      const rule: LearningRule = {
        seedKey: key,
        learningRate: log.learningRate,
        decayRounds: log.decayRounds,
        cap: log.capGradients,
        capExponent: log.capExponent,
        memory: log.memory,
        winsorise: log.winsorise,
        window: log.window,
        clip: log.clip,
        directionStripes: log.stripes,
        maxStaleness: 5,
        initialExponent: 0,
      };
      let state = initialReplica(rule, initialAdapter(key[0] + key[1] * 2 ** 32, modules));
      assert.equal(adapterDigest(state.theta), log.initialDigest);
      for (const g of log.rounds) {
        assert.equal(exponentInForce(state.normaliser), g.exponent);
        const record = recordOf(g.round, g.exponent, entriesOfBytes(g.round, g.contributions));
        state = await applyRecord(state, rule, record, referenceBackend);
        const { v, vMax, window } = state.normaliser;
        assert.deepEqual(
          {
            v,
            vMax,
            exponent: exponentInForce(state.normaliser),
            windowSum: window.reduce((a, b) => a + b, 0),
            digest: adapterDigest(state.theta),
          },
          { v: g.v ?? 0, vMax: g.vMax, exponent: g.nextExponent, windowSum: g.windowSum, digest: g.digest },
          `round ${g.round}`,
        );
      }
    });
});
