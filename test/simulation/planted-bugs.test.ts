/** The simulation is worth what it finds: each planted bug breaks an invariant within a few seeds. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PLANTED_BUGS, type PlantedBug } from './planted-bugs.ts';
import { KEPT_SEEDS } from './seeds.ts';
import { simulate } from './simulate.ts';

/** Seeds within which each planted bug is found. */
const FOUND_WITHIN = 120;
/** Of a bug that few runs meet: a seed whose run meets it, which is tried before the others. */
const TRIED_FIRST: Partial<Record<PlantedBug, number>> = {
  'skip the digest comparison': 14,
  'remake a lost record': 18,
  'take more than one contribution of a round': 31,
  'wait for an evaluator for ever': 4,
  'give a name to whoever says it': 4,
  'stop when many say so': 9,
  'take those who are back first for all': 88,
  'end memberships with the trainer': 5,
};

describe('the simulation', () => {
  for (const bug of PLANTED_BUGS)
    it(`finds the planted bug "${bug}"`, (test) => {
      const seeds = [TRIED_FIRST[bug] ?? [], ...Array(FOUND_WITHIN).keys()].flat();
      for (const seed of seeds) {
        const failure = simulate(seed, bug);
        if (failure === undefined) continue;
        test.diagnostic(failure.split('\n')[0]!);
        return;
      }
      assert.fail(`no seed below ${FOUND_WITHIN} found it`);
    });

  it('goes the same way twice from one seed', () => {
    const [bug] = PLANTED_BUGS;
    assert.equal(simulate(7, bug), simulate(7, bug));
  });

  for (const seed of KEPT_SEEDS) it(`holds for the kept seed ${seed}`, () => assert.equal(simulate(seed), undefined));
});
