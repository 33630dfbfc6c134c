/** How many directions a second each estimator measures: whole contributions, from making the directions to the bytes. */
import type { AdapterLayout } from '../kernels/adapter-layout.ts';
import { initialAdapter } from '../kernels/initial-adapter.ts';
import { seedKey } from '../kernels/random-keys.ts';
import { initialReplica } from '../kernels/replica.ts';
import { selectBackend } from '../kernels/select-backend.ts';
import type { BaseModel } from '../model/base-model.ts';
import { createForward, type ForwardOptions } from '../model/runtime/forward.ts';
import { hasExactInt8 } from '../model/runtime/int8-support.ts';
import type { TokenRow } from '../model/token-row.ts';
import { Learning } from '../proto/run-config.ts';
import { measureContribution } from '../worker/estimators/contribution.ts';
import { Scratch } from '../worker/estimators/scratch.ts';
import { median } from './statistics.ts';

export interface DirectionsRow {
  readonly estimator: Learning['estimator'];
  readonly precision: 'float32' | 'int8';
  /** Directions × rows of the minibatch, of the fastest run. */
  readonly rowDirectionsPerSecond: number;
  readonly medianRowDirectionsPerSecond: number;
  /** Median over that of spsa. */
  readonly ratio: number;
}

/** Runs of all estimators, alternating, on one minibatch at a run's first adapter. int8 where the CPU has it. */
export async function benchDirections(
  model: BaseModel,
  layout: AdapterLayout,
  rows: readonly TokenRow[],
  directions: number,
  runs: number,
  options: ForwardOptions,
): Promise<DirectionsRow[]> {
  const { backend } = await selectBackend('auto', options.threads);
  const exact = options.precision === undefined || options.precision === 'float32';
  const int8 = options.provider === 'cpu' && exact && (await hasExactInt8());
  const sides = [
    { estimator: 'spsa', precision: 'float32' },
    { estimator: 'forward', precision: 'float32' },
    ...(int8 ? [{ estimator: 'forward', precision: 'int8' } as const] : []),
  ] as const;
  const measured = [];
  for (const { estimator, precision } of sides) {
    const learning = Learning.parse({ estimator, directions });
    const rule = { ...learning, decayRounds: 0, seedKey: seedKey(1) };
    const tangents = estimator === 'forward' ? precision : undefined;
    const forward = await createForward(model, { layout }, { ...options, tangents });
    const context = { learning, rule, layout, backend, forward, scratch: new Scratch(backend), worker: 0 };
    const replica = initialReplica(rule, initialAdapter(1, layout.modules));
    measured.push({ estimator, precision, forward, measure: () => measureContribution(context, replica, 0, rows) });
  }
  const seconds = measured.map(() => [] as number[]);
  for (let run = 0; run < runs; run++)
    for (const [i, { measure }] of measured.entries()) {
      const begin = performance.now();
      await measure();
      seconds[i]!.push((performance.now() - begin) / 1000);
    }
  for (const { forward } of measured) await forward.close();
  await backend.close();
  const count = directions * rows.length;
  return measured.map(({ estimator, precision }, i) => ({
    estimator,
    precision,
    rowDirectionsPerSecond: count / Math.min(...seconds[i]!),
    medianRowDirectionsPerSecond: count / median(seconds[i]!),
    ratio: median(seconds[0]!) / median(seconds[i]!),
  }));
}
