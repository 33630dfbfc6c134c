/** The directions of a measurement as sign bits, for a forward pass that makes its adapters of them. */
import { firstBlockOf } from '../../kernels/random-keys.ts';
import type { SignedDirections } from '../../model/runtime/signed-feeds.ts';
import type { EstimatorContext, Measurement } from './estimator.ts';

export async function signedDirections(
  { learning, layout, backend }: Pick<EstimatorContext, 'learning' | 'layout' | 'backend'>,
  { roundKey, firstDirection, directions }: Pick<Measurement, 'roundKey' | 'firstDirection' | 'directions'>,
): Promise<SignedDirections> {
  const stripes = learning.directionStripes;
  const firstBlock = (_: unknown, k: number): number => firstBlockOf(roundKey, firstDirection + k, stripes);
  const signs = await backend.signs(roundKey, firstDirection, directions, layout.elements);
  return { signs, firstBlocks: Array.from({ length: directions }, firstBlock), stripes };
}
