/** An update cut into units of at most 16,384 elements that any thread can sum. */
import { BLOCK } from '../direction.ts';
import { type BlockRange, UNIT_BLOCKS } from './instance.ts';
import type { Plan } from './plan.ts';

export interface Unit {
  readonly plan: Plan;
  readonly range: BlockRange;
}

/** Units of all plans for d elements, in the same order on every thread. */
export function unitsOf(plans: readonly Plan[], d: number, stripes: number): Unit[] {
  const blocks = Math.ceil(d / BLOCK);
  const units: Unit[] = [];
  for (const plan of plans) {
    const used = Math.ceil((blocks - plan.firstBlock) / stripes);
    for (let k = 0; k < used; k += UNIT_BLOCKS)
      units.push({
        plan,
        range: { first: plan.firstBlock + k * stripes, stride: stripes, count: Math.min(UNIT_BLOCKS, used - k) },
      });
  }
  return units;
}
