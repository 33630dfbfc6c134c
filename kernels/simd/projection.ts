/** What the WebAssembly module reads for dot products with directions: their prepared terms, by the blocks that they touch. */
import { termClasses } from '../term-classes.ts';
import type { WordPair } from '../threefry.ts';
import { prepareTerm, TERM_BYTES } from './plan.ts';

/** Directions firstDirection, firstDirection + 1, … under one key; can be posted to a thread. */
export interface Projection {
  readonly directions: number;
  readonly stripes: number;
  readonly classes: readonly ProjectedClass[];
  /** Prepared terms, class by class. */
  readonly terms: Uint8Array;
}

/** Directions that are non-zero in the blocks firstBlock, firstBlock + stripes, … */
export interface ProjectedClass {
  readonly firstBlock: number;
  /** 0…directions − 1, in the order of the terms. */
  readonly members: readonly number[];
}

export function planProjection(
  roundKey: WordPair,
  firstDirection: number,
  directions: number,
  stripes: number,
): Projection {
  const all = Array.from({ length: directions }, (_, k) => ({ roundKey, direction: firstDirection + k, q: 1 }));
  const terms = new Uint8Array(directions * TERM_BYTES);
  let at = 0;
  const classes = termClasses(all, stripes).map((members) => ({
    firstBlock: members.firstBlock,
    members: members.terms.map(({ direction }) => {
      prepareTerm(new DataView(terms.buffer), at, roundKey, direction);
      at += TERM_BYTES;
      return direction - firstDirection;
    }),
  }));
  return { directions, stripes, classes, terms };
}

/** Blocks from…to. */
export interface ProjectedPart {
  readonly from: number;
  readonly to: number;
}
