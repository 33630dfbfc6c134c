/** The terms of an update by the blocks that they touch: with stripes, most terms are zero in most blocks. */
import type { Term } from './backend.ts';
import { firstBlockOf } from './random-keys.ts';

/** Terms that are non-zero in the blocks firstBlock, firstBlock + stripes, firstBlock + 2·stripes, … */
export interface TermClass {
  readonly firstBlock: number;
  /** Not empty; q ≠ 0. */
  readonly terms: Term[];
}

/** The classes that some term belongs to, by ascending first block. One at stripes 1. */
export function termClasses(terms: readonly Term[], stripes: number): TermClass[] {
  const classes = new Map<number, Term[]>();
  for (const term of terms) {
    if (term.q === 0) continue;
    const firstBlock = firstBlockOf(term.roundKey, term.direction, stripes);
    const members = classes.get(firstBlock);
    if (members) members.push(term);
    else classes.set(firstBlock, [term]);
  }
  return [...classes].sort(([a], [b]) => a - b).map(([firstBlock, members]) => ({ firstBlock, terms: members }));
}
