/** From a run file and the base model it names to the run config that all machines share. */
import { createHash } from 'node:crypto';
import type { z } from 'zod';
import { readPeftAdapter } from '../formats/peft-adapter.ts';
import { describeAdapter } from '../formats/peft-describe.ts';
import { adapterLayout } from '../kernels/adapter-layout.ts';
import { assertStripes, chooseStripes } from '../kernels/direction.ts';
import { bytesOf } from '../kernels/replica.ts';
import { type BaseModel, fingerprintBaseModel, openBaseModel } from '../model/base-model.ts';
import type { AdapterDescription } from '../proto/adapter.ts';
import { MAX_GRADIENTS_PER_RECORD } from '../proto/limits.ts';
import { usageError } from '../proto/operating-error.ts';
import type { RunConfig } from '../proto/run-config.ts';
import { AdapterSection, NEW_ADAPTER, type SettledRunFile } from '../settings/run-file.ts';
import { derivativesOf, ownLearning } from '../settings/worker-settings.ts';

/** A run config, and what a trainer needs with it. */
export interface PreparedRun {
  readonly config: RunConfig;
  /** All matrices of the adapter that the run continues, float32 little endian; empty for a new one. */
  readonly initialAdapter: Buffer;
}

/**
 * Opens the model of `run`, a directory by now, and makes its run config.
 * @param decayChanges those of the run that goes on
 * @throws OperatingError (usage)
 */
export async function prepareRun(
  run: SettledRunFile,
  decayChanges?: RunConfig['learning']['decayChanges'],
): Promise<PreparedRun> {
  const model = openBaseModel(run.model);
  const { description, initialAdapter } = adapterOf(run, model);
  const { maxLength, appendEos, template, verbalizers, shards } = run.data;
  if (maxLength > model.maxPositions)
    throw usageError(`data.maxLength ${maxLength}: the model has ${model.maxPositions} positions`);
  const learning = learningOf(run, adapterLayout(description.modules, description.train).elements);
  derivativesOf(ownLearning(learning, run.worker), run.worker);
  const config: RunConfig = {
    seed: run.seed,
    learning: { ...learning, ...(decayChanges && { decayChanges }) },
    data: { maxLength, appendEos, template, verbalizers, shards },
    adapter: description,
    baseModelSha256: await fingerprintBaseModel(model),
    ...(initialAdapter.length > 0 && {
      initialAdapterSha256: createHash('sha256').update(initialAdapter).digest('hex'),
    }),
  };
  return { config, initialAdapter };
}

/** `run.learning` with nothing left open. elements: d */
function learningOf({ learning, workers }: SettledRunFile, elements: number): RunConfig['learning'] {
  const gradients = Math.min(learning.directions * workers, MAX_GRADIENTS_PER_RECORD);
  const { directionStripes = chooseStripes(elements, gradients) } = learning;
  try {
    assertStripes(directionStripes, elements);
  } catch (cause) {
    throw usageError((cause as Error).message, { cause });
  }
  return { ...learning, directionStripes };
}

/** The adapter that the run file's keys `section` (by default: none of them) ask for on `model`. */
export function newAdapter(model: BaseModel, section: z.input<typeof AdapterSection> = {}) {
  const { rank, alpha, targets, rslora, train } = { ...NEW_ADAPTER, ...AdapterSection.parse(section) };
  const settings = { rank, alpha, targets, useRslora: rslora, train };
  return describeAdapter(settings, model.linearModules, model.fanInFanOut);
}

/** The adapter that a run begins with. @throws OperatingError (usage): it continues another one than the run file describes */
export function adapterOf(
  run: Pick<SettledRunFile, 'adapter'>,
  model: BaseModel,
): { description: AdapterDescription; initialAdapter: Buffer } {
  const { train, from, targets } = run.adapter;
  if (from === undefined) return { description: newAdapter(model, run.adapter), initialAdapter: Buffer.alloc(0) };
  const { description, matrices } = readPeftAdapter(from, model.linearModules);
  const { rank, alpha, useRslora, modules } = description;
  for (const [key, has] of Object.entries({ rank, alpha, rslora: useRslora })) {
    const stated = run.adapter[key as 'rank' | 'alpha' | 'rslora'] ?? has;
    if (stated !== has)
      throw usageError(
        `adapter.${key} ${stated}: the adapter that the run continues, ${from}, has ${has}; leave adapter.${key} out`,
      );
  }
  const namesOf = (list: AdapterDescription['modules']): string => list.map(({ name }) => name).join();
  if (targets !== undefined && namesOf(newAdapter(model, { targets }).modules) !== namesOf(modules))
    throw usageError(
      `adapter.targets ${JSON.stringify(targets)}: the adapter that the run continues, ${from}, has other layers; leave adapter.targets out`,
    );
  return {
    description: { ...description, baseModel: '', train },
    initialAdapter: Buffer.from(bytesOf(matrices)),
  };
}
