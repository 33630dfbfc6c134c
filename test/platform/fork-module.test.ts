import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { firstMessage, forkModule } from '../../platform/fork-module.ts';
import { ownModule } from '../../platform/own-module.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();

/** A process that runs `code`. */
function started(name: string, code: string) {
  const module = pathToFileURL(join(directory, name));
  writeFileSync(fileURLToPath(ownModule(module).url), code);
  return forkModule(module);
}

test('the first message of a process is heard, also when it ends at once', async () => {
  assert.equal(await firstMessage(started('speaks', 'process.send(7, () => process.exit(1))')), 7);
});

test('a process that ends without a message is an error that names it and its code', async () => {
  await assert.rejects(firstMessage(started('dies', 'process.exit(3)')), /dies\.[jt]s ended with 3/);
});
