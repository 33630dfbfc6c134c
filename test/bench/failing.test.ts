/** A benchmark that cannot be made says why, as the command would whose part failed. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { runOnebyte, tinyReviews } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

/** An example with the model and `splits` alone. */
function example(...splits: string[]): string {
  const directory = join(temporaryDirectory(), 'example');
  mkdirSync(directory);
  symlinkSync(join(tinyReviews, 'model'), join(directory, 'model'));
  for (const name of splits) copyFileSync(join(tinyReviews, `${name}.jsonl`), join(directory, `${name}.jsonl`));
  return directory;
}

describe('a benchmark whose processes fail', () => {
  it('ends with their error and exit code: bandwidth', async () => {
    const flags = ['--loopback', '--only', 'workers 2', '--example', example()];
    const { code, stderr } = await runOnebyte('bench', 'bandwidth', ...flags);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /worker-\d ended with code 2:\n.*train\.jsonl/s);
    assert.doesNotMatch(stderr, /internal error|its log|onebyte-bandwidth-.*\.log|^\{/m);
  });

  it('ends with their error and exit code: hostile', async () => {
    const { code, stderr } = await runOnebyte('bench', 'hostile', '--example', example('train', 'test'));
    assert.equal(code, 2, stderr);
    assert.match(stderr, /trainer ended with code 2:\n.*dev\.jsonl/s);
    assert.doesNotMatch(stderr, /internal error/);
  });

  it('is refused where there is no such example', async () => {
    for (const name of ['learning', 'bandwidth']) {
      const { code, stderr } = await runOnebyte('bench', name, '--example', '/nowhere');
      assert.equal(code, 2, stderr);
      assert.match(stderr, /^onebyte: --example \/nowhere: /);
    }
  });

  for (const [what, flags, message] of [
    ['no worker', ['protocol', '--workers', '0'], /Expected a whole number from 1/],
    ['no direction', ['agreement', '--example', tinyReviews, '--directions', '0'], /Expected a whole number from 1/],
    ['no part', ['kernels', '--only', 'nothing'], /--only nothing: expected a part of a name of what is measured/],
    ['no whole minibatch', ['steps', '--example', tinyReviews, '--rows', '65'], /--rows 65: expected at most 64/],
  ] as const)
    it(`is refused where it would measure ${what}`, async () => {
      const { code, stderr } = await runOnebyte('bench', ...flags);
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
    });
});
