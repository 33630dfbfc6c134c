/** A long round log that is read again: minutes of work, in which probes and signals are heard. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { referenceBackend } from '../../../kernels/reference.ts';
import { learningRuleOf } from '../../../kernels/run-replica.ts';
import { recordOf } from '../../../proto/record.ts';
import { canonicalJson } from '../../../proto/run-config.ts';
import { backfill } from '../../../trainer/metrics/backfill.ts';
import { replayLog } from '../../../trainer/store/replay.ts';
import { LOG_FORMAT } from '../../../trainer/store/round-log.ts';
import { smallRunConfig } from '../../support/small-run.ts';

it('a long log leaves others their turns while it is replayed, and while it is asked for what was not noted', async () => {
  const config = smallRunConfig();
  // Zeros: the exponent stays.
  const entries = [0, 1, 2, 3].map((worker) => ({
    ...{ worker, staleness: 0, firstDirection: 0 },
    gradientBytes: Buffer.alloc(8),
  }));
  const frames = Array.from({ length: 20_000 }, (_, round) => ({
    frame: { $case: 'record' as const, value: recordOf(round, 0, entries) },
  }));
  const runConfig = canonicalJson(config);
  const header = { format: LOG_FORMAT, runConfig, matrices: Buffer.alloc(0), runSecret: Buffer.alloc(32) };
  const nothing = { round: 0, evaluations: new Set<number>(), workers: new Map() };
  for (const work of [
    () => replayLog({ header, frames, validBytes: 0, tornBytes: 0 }, referenceBackend),
    () => backfill(frames, learningRuleOf(config), 1, nothing, 0),
  ]) {
    let turns = 0;
    const others = setInterval(() => turns++);
    await work();
    clearInterval(others);
    assert(turns > 1, `${turns} turns`);
  }
});
