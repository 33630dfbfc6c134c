/** What a command loads: walls that a lint rule, which sees one file at a time, cannot hold. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { it } from 'node:test';
import { root } from '../support/onebyte.ts';

/** All files that `file` imports, of types too, straight or through others; each with the chain that leads there. */
function reachedFrom(file: string): Map<string, string> {
  const reached = new Map([[file, file]]);
  for (const [from, chain] of reached)
    for (const [, path] of readFileSync(join(root, from), 'utf8').matchAll(/(?:from|import\() ?'(\.[^']+\.ts)'/g)) {
      const target = normalize(join(dirname(from), path!));
      if (!reached.has(target)) reached.set(target, `${chain} → ${target}`);
    }
  return reached;
}

it('the trainer command reaches nothing of worker/', () => {
  const chains = [...reachedFrom('cli/trainer.ts')].filter(([file]) => file.startsWith('worker/'));
  assert.deepEqual(chains, []);
  assert.ok(reachedFrom('cli/worker.ts').has('worker/run-worker.ts'));
});
