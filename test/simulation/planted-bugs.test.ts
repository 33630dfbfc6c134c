/** The simulation is worth what it finds: each planted bug breaks an invariant within a few seeds. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PLANTED_BUGS } from './planted-bugs.ts';
import { KEPT_SEEDS } from './seeds.ts';
import { simulate } from './simulate.ts';

/** Seeds within which each planted bug is found. */
const FOUND_WITHIN = 120;

describe('the simulation', () => {
  for (const bug of PLANTED_BUGS)
    it(`finds the planted bug "${bug}"`, (test) => {
      for (let seed = 0; seed < FOUND_WITHIN; seed++) {
        const failure = simulate(seed, bug);
        if (failure === undefined) continue;
        test.diagnostic(failure.split('\n')[0]!);
        return;
      }
      assert.fail(`${FOUND_WITHIN} seeds did not find it`);
    });

  it('goes the same way twice from one seed', () => {
    const [bug] = PLANTED_BUGS;
    assert.equal(simulate(7, bug), simulate(7, bug));
  });

  for (const seed of KEPT_SEEDS) it(`holds for the kept seed ${seed}`, () => assert.equal(simulate(seed), undefined));
});
