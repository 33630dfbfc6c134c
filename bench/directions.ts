/** How many directions a second each estimator measures: whole contributions, from making the directions to the bytes. */
import type { AdapterLayout } from '../kernels/adapter-layout.ts';
import { initialAdapter } from '../kernels/initial-adapter.ts';
import { seedKey } from '../kernels/random-keys.ts';
import { initialReplica } from '../kernels/replica.ts';
import { selectBackend } from '../kernels/select-backend.ts';
import type { BaseModel } from '../model/base-model.ts';
import type { Precision } from '../model/graph/precision.ts';
import { createForward, type ForwardOptions } from '../model/runtime/forward.ts';
import { hasExactInt8 } from '../model/runtime/int8-support.ts';
import type { TokenRow } from '../model/token-row.ts';
import { Learning } from '../proto/run-config.ts';
import { derivativesOf } from '../settings/worker-settings.ts';
import { measureContribution } from '../worker/estimators/contribution.ts';
import { Scratch } from '../worker/estimators/scratch.ts';
import { median } from './statistics.ts';

export interface DirectionsRow {
  readonly estimator: Learning['estimator'];
  /** What linear layers multiplied in; int8: products of tangents. */
  readonly precision: Precision | 'int8';
  /** Rows of the minibatch. */
  readonly rows: number;
  /** K of the contributions. */
  readonly directions: number;
  /** Directions × rows of the minibatch, of the fastest run. */
  readonly rowDirectionsPerSecond: number;
  readonly medianRowDirectionsPerSecond: number;
  /** Median over that of spsa with as many rows. */
  readonly ratio: number;
}

/** K of `backward`, whose cost hardly depends on it. */
const BACKWARD_DIRECTIONS = 256;

/** Runs of all estimators, alternating, on each of the minibatches at a run's first adapter. int8 where the CPU has it. */
export async function benchDirections(
  model: BaseModel,
  layout: AdapterLayout,
  minibatches: readonly (readonly TokenRow[])[],
  directions: number,
  runs: number,
  options: ForwardOptions,
): Promise<DirectionsRow[]> {
  const { backend } = await selectBackend('auto', options.threads);
  // Only the CPU has it, whose own precision is float32.
  const exact = options.precision === undefined || options.precision === 'float32';
  const int8 = options.provider === 'cpu' && exact && (await hasExactInt8());
  const sides = [
    { estimator: 'spsa', precision: 'float32', directions },
    { estimator: 'forward', precision: 'float32', directions },
    ...(int8 ? [{ estimator: 'forward', precision: 'int8', directions } as const] : []),
    { estimator: 'backward', precision: 'float32', directions: BACKWARD_DIRECTIONS },
  ] as const;
  const measured = [];
  for (const { estimator, precision, directions } of sides) {
    const learning = Learning.parse({ estimator, directions });
    const rule = { ...learning, decayRounds: 0, seedKey: seedKey(1) };
    const derivatives = derivativesOf(learning, {
      quantize: 'none',
      ...(precision === 'int8' && { tangentPrecision: precision }),
    });
    const forward = await createForward(model, { layout }, { ...options, ...derivatives });
    const context = { learning, rule, layout, backend, forward, scratch: new Scratch(backend), worker: 0 };
    const replica = initialReplica(rule, initialAdapter(1, layout.modules));
    measured.push({
      estimator,
      precision: precision === 'int8' ? precision : forward.chosen.precision,
      directions,
      forward,
      measure: (rows: readonly TokenRow[]) => measureContribution(context, replica, 0, rows),
    });
  }
  const table: DirectionsRow[] = [];
  for (const rows of minibatches) {
    const seconds = measured.map(() => [] as number[]);
    for (let run = 0; run < runs; run++)
      for (const [i, { measure }] of measured.entries()) {
        const begin = performance.now();
        await measure(rows);
        seconds[i]!.push((performance.now() - begin) / 1000);
      }
    const medians = measured.map(({ directions }, i) => (directions * rows.length) / median(seconds[i]!));
    for (const [i, { estimator, precision, directions }] of measured.entries())
      table.push({
        estimator,
        precision,
        rows: rows.length,
        directions,
        rowDirectionsPerSecond: (directions * rows.length) / Math.min(...seconds[i]!),
        medianRowDirectionsPerSecond: medians[i]!,
        ratio: medians[i]! / medians[0]!,
      });
  }
  for (const { forward } of measured) await forward.close();
  await backend.close();
  return table;
}
