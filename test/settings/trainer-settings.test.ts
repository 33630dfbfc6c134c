/** Which settings of a trainer go together. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { TrainerSettings } from '../../settings/trainer-settings.ts';

/** What a person is told who sets `keys`; undefined: they go together. */
function problem(keys: object): string | undefined {
  const { error } = TrainerSettings.safeParse(keys);
  return error && z.prettifyError(error);
}

describe('the settings of a trainer', () => {
  it('may be left out', () => assert.equal(problem({}), undefined));

  it('leave a silent worker a heartbeat before its lease ends', () => {
    assert.equal(problem({ leaseMs: 5_001 }), undefined);
    for (const keys of [{ leaseMs: 5_000 }, { leaseMs: 1_000, heartbeatMs: 1_000 }, { heartbeatMs: 20_000 }])
      assert.match(problem(keys)!, /leaseMs is \d+, expected more than heartbeatMs \(\d+\)/);
  });

  it('have heartbeats that are some ticks of the trainer apart', () => {
    assert.equal(problem({ heartbeatMs: 100 }), undefined);
    assert.match(problem({ heartbeatMs: 20 })!, /heartbeatMs/);
  });

  it('have no floor of the deadline above its ceiling', () => {
    assert.equal(problem({ deadlineFloorMs: 500, deadlineCeilingMs: 500 }), undefined);
    for (const keys of [{ deadlineFloorMs: 60_001 }, { deadlineCeilingMs: 199 }])
      assert.match(problem(keys)!, /deadlineFloorMs is \d+, expected at most deadlineCeilingMs \(\d+\)/);
  });
});
