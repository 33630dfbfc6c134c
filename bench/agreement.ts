/** `onebyte bench agreement`: projected gradients as one arithmetic or estimator measures them, against another, same rows and directions. */
import { hasExactInt8 } from '../model/runtime/int8-support.ts';
import { measureGradients } from '../worker/estimators/contribution.ts';
import { Lab, type TrialSettings } from './lab.ts';
import { describeMachine, type Machine } from './machine.ts';
import { mean } from './statistics.ts';

export interface AgreementOptions {
  /** Directory with model/ and train.jsonl. */
  readonly example: string;
  /** A multiple of 8. Default 200. */
  readonly directions?: number;
}

export interface AgreementRow {
  readonly what: string;
  /** The float32 measurement that it is compared with: `spsa`, or `forward`, the exact derivative. */
  readonly against: string;
  readonly directions: number;
  /** Pearson's, of the projected gradients with those. */
  readonly correlation: number;
  /** Root mean square of the difference, and of those projected gradients, nats. */
  readonly rmsError: number;
  readonly rms: number;
}

/** Directions of one minibatch of four rows. */
const PER_MINIBATCH = 8;

export interface AgreementBench {
  readonly rows: readonly AgreementRow[];
  readonly machine: Machine;
}

export async function benchAgreement(options: AgreementOptions): Promise<AgreementBench> {
  const { example, directions = 200 } = options;
  const machine = describeMachine();
  const lab = await Lab.open(example);
  const measure = async (how: Partial<TrialSettings> = {}): Promise<number[]> => {
    const learning = { directions: PER_MINIBATCH, rows: 4, ...how.learning };
    const trial = await lab.begin({ ...how, seed: 1, workers: 1, learning });
    const [{ context, rows }] = trial.workers as [(typeof trial.workers)[0]];
    const gradients: number[] = [];
    for (let round = 0; gradients.length < directions; round++) {
      const replica = { ...trial.replica, normaliser: { ...trial.replica.normaliser, round } };
      gradients.push(...(await measureGradients(context, replica, 0, rows(round))));
    }
    return gradients;
  };
  try {
    const { learning } = FORWARD;
    const spsa = await measure();
    const forward = await measure(FORWARD);
    const rounded: AgreementRow[] = [];
    for (const precision of PRECISIONS)
      for (const [what, how] of Object.entries({ spsa: {}, forward: FORWARD }))
        rounded.push(rowOf(`${what}, ${precision}`, 'forward', await measure({ ...how, precision }), forward));
    return {
      rows: [
        ...rounded,
        rowOf('spsa, int8 weights', 'spsa', await measure({ quantize: 'int8' }), spsa),
        rowOf('spsa', 'forward', spsa, forward),
        ...((await hasExactInt8())
          ? [rowOf('forward, int8 tangents', 'forward', await measure({ learning, tangents: 'int8' }), forward)]
          : []),
      ],
      machine,
    };
  } finally {
    await lab.close();
  }
}

/** What a GPU may multiply in, as the CPU emulates it. */
const PRECISIONS = ['tf32', 'float16', 'bfloat16'] as const;

const FORWARD = { learning: { estimator: 'forward' } } as const;

function rowOf(what: string, against: string, measured: readonly number[], float32: readonly number[]): AgreementRow {
  const product = (a: readonly number[], b: readonly number[]): number => {
    const [meanA, meanB] = [mean(a), mean(b)];
    return mean(a.map((value, i) => (value - meanA) * (b[i]! - meanB)));
  };
  const rms = (values: readonly number[]): number => Math.sqrt(mean(values.map((value) => value * value)));
  return {
    what,
    against,
    directions: float32.length,
    correlation: product(measured, float32) / Math.sqrt(product(measured, measured) * product(float32, float32)),
    rmsError: rms(measured.map((value, i) => value - float32[i]!)),
    rms: rms(float32),
  };
}
