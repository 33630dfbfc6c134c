/** `onebyte bench agreement`: projected gradients as a cheaper arithmetic measures them, against float32's, same rows and directions. */
import { initialReplica } from '../kernels/replica.ts';
import { initialMatrices, layoutOf, learningRuleOf, trainedPart } from '../kernels/run-replica.ts';
import { selectBackend } from '../kernels/select-backend.ts';
import { usableCores } from '../worker/cores.ts';
import { readDataset } from '../worker/data/dataset.ts';
import { dataOrder } from '../worker/data/order.ts';
import type { TokenRow } from '../worker/data/token-row.ts';
import { openBaseModel } from '../worker/model/base-model.ts';
import { createForward } from '../worker/model/forward.ts';
import { loadTokenizer } from '../worker/model/tokenizer.ts';
import { projectedGradients, Scratch } from '../worker/spsa-step.ts';
import { benchRunConfig } from './run-config.ts';

export interface AgreementOptions {
  readonly model: string;
  readonly data: string;
  /** Default 200. */
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
const MINIBATCH = 4;

export async function benchAgreement(options: AgreementOptions): Promise<{ rows: AgreementRow[] }> {
  const { model: directory, data, directions = 200 } = options;
  const threads = usableCores();
  const model = openBaseModel(directory);
  const config = await benchRunConfig(model, { seed: 1, shards: 1, learning: { directions: PER_MINIBATCH } });
  const [layout, rule] = [layoutOf(config), learningRuleOf(config)];
  const { backend } = await selectBackend('auto', threads);
  const { examples } = readDataset(data, loadTokenizer(directory), config.data);
  const order = dataOrder(1, 0, examples.length);
  const theta = trainedPart(layout, initialMatrices(config, Buffer.alloc(0)));
  const { normaliser } = initialReplica(rule, theta);
  const measure = async (quantize: 'none' | 'int8'): Promise<number[]> => {
    const forward = await createForward(model, { layout }, { provider: 'cpu', threads, quantize });
    const scratch = new Scratch(backend);
    const context = { learning: config.learning, rule, layout, backend, forward, scratch, worker: 0 };
    const gradients: number[] = [];
    for (let round = 0; gradients.length < directions; round++) {
      const minibatch = order(round, MINIBATCH).map((i): TokenRow => examples[i]!.options[examples[i]!.right]!);
      const count = Math.min(PER_MINIBATCH, directions - gradients.length);
      const replica = { theta, normaliser: { ...normaliser, round } };
      gradients.push(...(await projectedGradients(context, replica, 0, count, minibatch)));
    }
    await forward.close();
    return gradients;
  };
  try {
    const float32 = await measure('none');
    return { rows: [rowOf('int8 weights', await measure('int8'), float32)] };
  } finally {
    await backend.close();
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
