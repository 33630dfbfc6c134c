/** The replica state beside θ, at the edges of what it may hold. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  absorb,
  exponentInForce,
  initialNormaliser,
  isDecodable,
  type Normaliser,
} from '../../kernels/learning-rule.ts';
import { recordOf } from '../../proto/record.ts';
import { Learning } from '../../proto/run-config.ts';

const ruleOf = (learning: object) => ({ ...Learning.parse(learning), decayRounds: 0, seedKey: [1, 0] as const });
const take = (normaliser: Normaliser, rule: ReturnType<typeof ruleOf>, ...bytes: readonly (readonly number[])[]) =>
  absorb(
    normaliser,
    rule,
    recordOf(
      normaliser.round,
      exponentInForce(normaliser),
      bytes.map((own, worker) => ({ staleness: 0, worker, firstDirection: 0, gradientBytes: Buffer.from(own) })),
    ),
  );

describe('the normaliser', () => {
  it('keeps the exponents that bytes of the last maxStaleness rounds need, and of no others', () => {
    const rule = ruleOf({ maxStaleness: 2 });
    const decodable = (normaliser: Normaliser) => [-1, 0, 1, 2, 3].filter((age) => isDecodable(normaliser, age));
    let normaliser = initialNormaliser(rule);
    assert.deepEqual(decodable(normaliser), [0]);
    for (let round = 0; round < 5; round++) normaliser = take(normaliser, rule, [0x40]).normaliser;
    assert.deepEqual([decodable(normaliser), normaliser.exponents.length], [[0, 1, 2], 3]);
  });

  for (const [initialExponent, byte] of [
    [60, 0x7e],
    [-60, 0x01],
  ] as const)
    it(`keeps the exponent at ${initialExponent} where the bytes ask for one beyond`, () => {
      const rule = ruleOf({ initialExponent });
      assert.equal(exponentInForce(take(initialNormaliser(rule), rule, [byte]).normaliser), initialExponent);
    });

  it('counts as cut what is louder than the limit, not what is as loud', () => {
    const rule = ruleOf({ clip: 1 });
    const clipped = (loud: number) => [...take(initialNormaliser(rule), rule, [0x40], [0x40], [loud]).update!.clipped];
    assert.deepEqual([clipped(0x40), clipped(0x41)], [[], [[2, 1]]]);
  });
});
