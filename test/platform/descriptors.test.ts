/** What the system says of descriptors, and what is made of it. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { freeDescriptors } from '../../platform/descriptors.ts';
import { serviceLimitsFor } from '../../trainer/transport/service-limits.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();

function freeOf(soft: string): number {
  const file = join(directory, 'limits');
  writeFileSync(
    file,
    `Limit                     Soft Limit           Hard Limit           Units     \nMax open files            ${soft.padEnd(21)}1048576              files     \n`,
  );
  return freeDescriptors(file, directory);
}

describe('the descriptors of a process', () => {
  it('are what the system allows less those that are open', () => {
    assert.deepEqual([freeOf('1025'), freeOf('unlimited')], [1024, Number.POSITIVE_INFINITY]);
  });

  it('are few where the system does not say', () => assert.equal(freeDescriptors('/none', '/none'), 960));

  it('that are too few are an error which says what to do', () =>
    assert.throws(() => freeOf('100'), { exitCode: 2, message: /has 1, expected 128 more: raise it \(ulimit -n/ }));

  it('leave peers of a trainer three quarters, and one address half of these', () => {
    const limits = [200, 100_000].map(serviceLimitsFor);
    assert.deepEqual(
      limits.map(({ connections, connectionsPerAddress }) => [connections, connectionsPerAddress]),
      [
        [150, 75],
        [4096, 2048],
      ],
    );
  });
});
