/** From a run file and the base model it names to the run config that all machines share. */
import { createHash } from 'node:crypto';
import { readPeftAdapter } from '../formats/peft-adapter.ts';
import { describeAdapter } from '../formats/peft-describe.ts';
import { adapterLayout } from '../kernels/adapter-layout.ts';
import { assertStripes } from '../kernels/direction.ts';
import { bytesOf } from '../kernels/replica.ts';
import { type BaseModel, fingerprintBaseModel, openBaseModel } from '../model/base-model.ts';
import type { AdapterDescription } from '../proto/adapter.ts';
import { usageError } from '../proto/operating-error.ts';
import type { RunConfig } from '../proto/run-config.ts';
import type { RunFile } from '../settings/run-file.ts';
import { tangentsOf } from '../settings/worker-settings.ts';

/** A run config, and what a trainer needs with it. */
export interface PreparedRun {
  readonly config: RunConfig;
  /** All matrices of the adapter that the run continues, float32 little endian; empty for a new one. */
  readonly initialAdapter: Buffer;
}

/** Opens the model of `run`, a directory by now, and makes its run config. @throws OperatingError (usage) */
export async function prepareRun(run: RunFile): Promise<PreparedRun> {
  tangentsOf(run.learning, run.worker);
  const model = openBaseModel(run.model);
  const { description, initialAdapter } = adapterOf(run, model);
  const { maxLength, appendEos, template, verbalizers } = run.data;
  if (maxLength > model.maxPositions)
    throw usageError(`data.maxLength ${maxLength}: the model has ${model.maxPositions} positions`);
  const { directionStripes } = run.learning;
  const { elements } = adapterLayout(description.modules, description.train);
  try {
    assertStripes(directionStripes, elements);
  } catch (cause) {
    throw usageError((cause as Error).message, { cause });
  }
  const config: RunConfig = {
    seed: run.seed,
    learning: { ...run.learning, decayRounds: run.learning.decayRounds ?? run.rounds },
    data: { maxLength, appendEos, template, verbalizers, shards: run.data.shards ?? run.workers },
    adapter: description,
    baseModelSha256: await fingerprintBaseModel(model),
    ...(initialAdapter.length > 0 && {
      initialAdapterSha256: createHash('sha256').update(initialAdapter).digest('hex'),
    }),
  };
  return { config, initialAdapter };
}

function adapterOf(run: RunFile, model: BaseModel): { description: AdapterDescription; initialAdapter: Buffer } {
  const { rank, alpha, targets, rslora, train, from } = run.adapter;
  const { linearModules, fanInFanOut } = model;
  const baseModel = '';
  if (from === undefined) {
    const settings = { baseModel, rank, alpha, targets, useRslora: rslora, train };
    return { description: describeAdapter(settings, linearModules, fanInFanOut), initialAdapter: Buffer.alloc(0) };
  }
  const { description, matrices } = readPeftAdapter(from, linearModules);
  return {
    description: { ...description, baseModel, train },
    initialAdapter: Buffer.from(bytesOf(matrices)),
  };
}
