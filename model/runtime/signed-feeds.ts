/** Adapters and directions as sign bits: the inputs that graph/made-adapters.ts makes them of. */
import { Tensor } from 'onnxruntime-node';
import type { AdapterLayout } from '../../kernels/adapter-layout.ts';
import { BLOCK, blocksOf } from '../../kernels/direction.ts';
import { DIRECTION_OF, SIGNS, STEPS, THETA } from '../graph/made-adapters.ts';
import { int64 } from './packing.ts';

/** Directions z of a layout, as `Backend.signs` gives them. */
export interface SignedDirections {
  readonly signs: Uint8Array;
  /** The first block that each direction uses. */
  readonly firstBlocks: readonly number[];
  readonly stripes: number;
}

/** An adapter θ + step·z, or step·z itself. */
export interface Move {
  /** Which of the directions. */
  readonly direction: number;
  readonly step: number;
}

/** θ `[d]` as its input: as it lies where its last block is whole, else a copy. */
export function thetaFeed({ elements }: AdapterLayout, theta: Float32Array): Record<string, Tensor> {
  const blocks = blocksOf(elements);
  const whole = elements === blocks * BLOCK ? theta : new Float32Array(blocks * BLOCK);
  if (whole !== theta) whole.set(theta);
  return { [THETA]: new Tensor('float32', whole, [1, blocks, BLOCK]) };
}

/** The moves along `z`, `[moves, …]`. */
export function moveFeeds(
  { elements }: AdapterLayout,
  { signs, firstBlocks, stripes }: SignedDirections,
  moves: readonly Move[],
): Record<string, Tensor> {
  const blocks = blocksOf(elements);
  const stepBlocks = stripes === 1 ? 1 : blocks;
  const steps = new Float32Array(moves.length * stepBlocks);
  moves.forEach(({ direction, step }, i) => {
    for (let block = firstBlocks[direction]!; block < stepBlocks; block += stripes)
      steps[i * stepBlocks + block] = step;
  });
  return {
    [SIGNS]: new Tensor('uint8', signs, [firstBlocks.length, (blocks * BLOCK) / 8]),
    [DIRECTION_OF]: int64(
      moves.map(({ direction }) => direction),
      [moves.length],
    ),
    [STEPS]: new Tensor('float32', steps, [moves.length, stepBlocks, 1]),
  };
}

/** One direction that nothing moves along: θ itself. */
export const noDirection = ({ elements }: AdapterLayout): SignedDirections => ({
  signs: new Uint8Array((blocksOf(elements) * BLOCK) / 8),
  firstBlocks: [0],
  stripes: 1,
});
