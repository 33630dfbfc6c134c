/** ONNX Runtime reports its use unless told not to, and leaves an identifier of the device in the user's cache. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startOnebyte, tinyReviews } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

test('a command that runs a model leaves no device identifier behind', async () => {
  const home = temporaryDirectory();
  const unset = { ORT_DISABLE_TELEMETRY: undefined, CI: undefined, XDG_CACHE_HOME: undefined };
  const args = ['eval', '--model', join(tinyReviews, 'model'), '--data', join(tinyReviews, 'dev.jsonl')];
  const { code, stderr } = await startOnebyte(args, { ...unset, HOME: home }).finished;
  assert.equal(code, 0, stderr);
  assert.deepEqual(readdirSync(home, { recursive: true }), []);
});
