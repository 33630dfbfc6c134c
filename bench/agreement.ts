/** `onebyte bench agreement`: projected gradients as a cheaper arithmetic measures them, against float32's, same rows and directions. */
import { measureGradients } from '../worker/spsa-step.ts';
import { Lab } from './lab.ts';
import { describeMachine, type Machine } from './machine.ts';

export interface AgreementOptions {
  /** Directory with model/ and train.jsonl. */
  readonly example: string;
  /** A multiple of 8. Default 200. */
  readonly directions?: number;
}

export interface AgreementRow {
  readonly what: string;
  readonly directions: number;
  /** Pearson's, of the projected gradients with those of float32 weights. */
  readonly correlation: number;
  /** Root mean square of the difference, and of float32's projected gradients, nats. */
  readonly rmsError: number;
  readonly rms: number;
}

/** Directions of one minibatch of four rows. */
const PER_MINIBATCH = 8;

export async function benchAgreement(options: AgreementOptions): Promise<{ rows: AgreementRow[]; machine: Machine }> {
  const { example, directions = 200 } = options;
  const machine = describeMachine();
  const lab = await Lab.open(example);
  const measure = async (quantize: 'none' | 'int8'): Promise<number[]> => {
    const trial = await lab.begin({ seed: 1, workers: 1, learning: { directions: PER_MINIBATCH, rows: 4 }, quantize });
    const [{ context, rows }] = trial.workers as [(typeof trial.workers)[0]];
    const gradients: number[] = [];
    for (let round = 0; gradients.length < directions; round++) {
      const replica = { ...trial.replica, normaliser: { ...trial.replica.normaliser, round } };
      gradients.push(...(await measureGradients(context, replica, 0, rows(round))));
    }
    return gradients;
  };
  try {
    const float32 = await measure('none');
    return { rows: [rowOf('int8 weights', await measure('int8'), float32)], machine };
  } finally {
    await lab.close();
  }
}

function rowOf(what: string, measured: readonly number[], float32: readonly number[]): AgreementRow {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const product = (a: readonly number[], b: readonly number[]): number => {
    const [meanA, meanB] = [mean(a), mean(b)];
    return mean(a.map((value, i) => (value - meanA) * (b[i]! - meanB)));
  };
  const rms = (values: readonly number[]): number => Math.sqrt(mean(values.map((value) => value * value)));
  return {
    what,
    directions: float32.length,
    correlation: product(measured, float32) / Math.sqrt(product(measured, measured) * product(float32, float32)),
    rmsError: rms(measured.map((value, i) => value - float32[i]!)),
    rms: rms(float32),
  };
}
