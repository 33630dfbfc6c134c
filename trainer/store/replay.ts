/** The replica that a round log gives, from the log alone: how a restarted trainer, `onebyte replay` and an auditor come to it. */
import { createHash } from 'node:crypto';
import { type Backend, ownedCopy } from '../../kernels/backend.ts';
import { absorb } from '../../kernels/learning-rule.ts';
import { initialReplica, moveReplica, type ReplicaState } from '../../kernels/replica.ts';
import { frozenPart, initialMatrices, layoutOf, learningRuleOf, trainedPart } from '../../kernels/run-replica.ts';
import { breather } from '../../platform/breath.ts';
import { adapterElements } from '../../proto/adapter.ts';
import type { Record } from '../../proto/gen/onebyte.ts';
import { storeError, usageError } from '../../proto/operating-error.ts';
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
  checkMatrices(config, log.header.matrices);
  const matrices = initialMatrices(config, log.header.matrices);
  const layout = layoutOf(config);
  const frozenA = log.header.matrices.length > 0 ? frozenPart(layout, matrices) : undefined;
  let replica = initialReplica(rule, ownedCopy(backend, trainedPart(layout, matrices)), frozenA);
  const breathe = breather();
  for (const record of records.slice(0, rounds)) {
    const absorbed = inLog(record, () => absorb(replica.normaliser, rule, record));
    replica = await moveReplica(replica, rule, absorbed, backend);
    await breathe();
  }
  return { config, replica, matrices };
}

/**
 * What `read` makes of a record of a log, whose checksums tell nothing of who wrote it.
 * @throws OperatingError durableStore: it is none, or does not follow from the records before it
 */
export function inLog<T>({ round }: Record, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const [reason] = (cause as Error).message.split('\n');
    throw storeError(`round log: record ${round} does not follow from those before it: ${reason}`, { cause });
  }
}

/** @throws OperatingError durableStore: the header holds another adapter than its run config says that the run continues */
function checkMatrices({ adapter, initialAdapterSha256 }: RunConfig, given: Buffer): void {
  const sha256 = given.length > 0 ? createHash('sha256').update(given).digest('hex') : undefined;
  const bytes = initialAdapterSha256 === undefined ? 0 : 4 * adapterElements(adapter.modules);
  if (sha256 !== initialAdapterSha256 || given.length !== bytes)
    throw storeError(
      `round log: its header holds ${given.length} bytes of an adapter that the run continues, expected ${bytes === 0 ? 'none' : `${bytes} with sha-256 ${initialAdapterSha256}`}`,
    );
}
