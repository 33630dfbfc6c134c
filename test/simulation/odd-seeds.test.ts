/** Half of the seeds; the test runner gives each half a core. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { failuresOf, SEEDS } from './seeds.ts';

describe('a simulated run with every kind of fault, odd seeds', () => {
  it('ends with all records, on equal replicas, whatever failed', () => assert.deepEqual(failuresOf(1, SEEDS, 2), []));
});
