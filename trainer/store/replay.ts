/** The replica that a round log gives, from the log alone: how a restarted trainer, `onebyte replay` and an auditor come to it. */
import { type Backend, ownedCopy } from '../../kernels/backend.ts';
import { applyRecord, initialReplica, type ReplicaState } from '../../kernels/replica.ts';
import { frozenPart, initialMatrices, layoutOf, learningRuleOf, trainedPart } from '../../kernels/run-replica.ts';
import { breather } from '../../platform/breath.ts';
import { usageError } from '../../proto/operating-error.ts';
import { parseRunConfig, type RunConfig } from '../../proto/run-config.ts';
import { type LogContents, recordsOf } from './round-log.ts';

export interface Replay {
  readonly config: RunConfig;
  readonly replica: ReplicaState;
  /** A and B of all modules at round 0. */
  readonly matrices: Float32Array;
}

/** The replica after the first `rounds` records of a log (all of them when undefined), from the log alone. */
export async function replayLog(log: LogContents, backend: Backend, rounds?: number): Promise<Replay> {
  const config = parseRunConfig(log.header.runConfig, 'the round log');
  const records = recordsOf(log.frames);
  if (rounds !== undefined && rounds > records.length)
    throw usageError(`round ${rounds}: the log holds ${records.length} records`);
  const rule = learningRuleOf(config);
  const matrices = initialMatrices(config, log.header.matrices);
  const layout = layoutOf(config);
  const frozenA = log.header.matrices.length > 0 ? frozenPart(layout, matrices) : undefined;
  let replica = initialReplica(rule, ownedCopy(backend, trainedPart(layout, matrices)), frozenA);
  const breathe = breather();
  for (const record of records.slice(0, rounds)) {
    replica = await applyRecord(replica, rule, record, backend);
    await breathe();
  }
  return { config, replica, matrices };
}
