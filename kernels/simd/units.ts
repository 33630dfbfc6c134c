/** Operations cut into units that any thread can take: an update into at most 16,384 elements, dot products into parts. */
import { blocksOf } from '../direction.ts';
import { type BlockRange, UNIT_BLOCKS } from './instance.ts';
import type { Plan } from './plan.ts';
import type { ProjectedPart } from './projection.ts';

export interface Unit {
  readonly plan: Plan;
  readonly range: BlockRange;
}

/** Units of all plans for d elements, in the same order on every thread. */
export function unitsOf(plans: readonly Plan[], d: number, stripes: number): Unit[] {
  const blocks = blocksOf(d);
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

/** Parts of a projection, at most: each has K sums of its own, which are added in the order of the parts. */
const MOST_PARTS = 64;

/** The blocks of d elements in parts that any thread can project. */
export function projectionParts(d: number): ProjectedPart[] {
  const blocks = blocksOf(d);
  const size = Math.max(UNIT_BLOCKS, Math.ceil(blocks / MOST_PARTS));
  const parts: ProjectedPart[] = [];
  for (let from = 0; from < blocks; from += size) parts.push({ from, to: Math.min(from + size, blocks) });
  return parts;
}
