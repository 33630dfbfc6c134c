/** Logs whose checksums are right and whose content is not: anybody can write one. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { referenceBackend } from '../../../kernels/reference.ts';
import type { LogFrame, Record } from '../../../proto/gen/onebyte.ts';
import { readPastRun } from '../../../trainer/metrics/metrics-file.ts';
import { roundLogFile } from '../../../trainer/store/open-run.ts';
import { replayLog } from '../../../trainer/store/replay.ts';
import { createRoundLog, readRoundLog } from '../../../trainer/store/round-log.ts';
import { goldenFiles } from '../../support/onebyte.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const golden = await readRoundLog(join(goldenFiles, 'round-logs/format-3.log'));
const header = { ...golden.header, format: 4 };

const withSecondRecord = (change: Partial<Record>): LogFrame[] => {
  let records = 0;
  return golden.frames.map(({ frame }): LogFrame => {
    if (frame?.$case !== 'record' || ++records !== 2) return { frame };
    return { frame: { $case: 'record', value: { ...frame.value, ...change } } };
  });
};

describe('a round log whose records do not follow from each other', () => {
  const WRONG: [name: string, change: Partial<Record>, message: RegExp][] = [
    ['a number twice', { round: 0 }, /record 0 does not follow .*: records are absorbed in order/],
    ['another exponent', { exponent: 7 }, /record 1 does not follow .*: exponent of record 1/],
    ['bytes of nobody', { workers: [] }, /record 1 does not follow .*: .* do not fit each other/],
    ['bytes of long ago', { staleness: [9, 9, 9] }, /record 1 does not follow .*: .*/],
  ];
  for (const [name, change, message] of WRONG)
    it(`is refused, replayed and shown: ${name}`, async () => {
      const directory = temporaryDirectory();
      const file = roundLogFile(directory);
      await (await createRoundLog(file, header, withSecondRecord(change))).close();
      const refused = { name: 'OperatingError', exitCode: 5, message };
      await assert.rejects(async () => replayLog(await readRoundLog(file), referenceBackend), refused);
      await assert.rejects(readPastRun(directory), refused);
    });

  it('is refused where its header holds another adapter than it says', async () => {
    for (const bytes of [1, 4])
      await assert.rejects(
        replayLog({ ...golden, header: { ...header, matrices: Buffer.alloc(bytes) } }, referenceBackend),
        { name: 'OperatingError', exitCode: 5, message: new RegExp(`its header holds ${bytes} bytes of an adapter`) },
      );
  });

  it('is refused where its run config is none, whatever the format', async () => {
    const file = join(temporaryDirectory(), 'round.log');
    for (const runConfig of ['null', `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`])
      for (const format of [2, 3, 4]) {
        await (await createRoundLog(file, { ...header, format, runConfig })).close();
        await assert.rejects(async () => replayLog(await readRoundLog(file), referenceBackend), {
          name: 'OperatingError',
          exitCode: 2,
          message: /run config/,
        });
        writeFileSync(file, '');
      }
  });
});
