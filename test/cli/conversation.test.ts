/** A conversation in the terminal. */
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { it } from 'node:test';
import { converse } from '../../cli/conversation.ts';

it('says on a terminal how it ends, and nothing where lines are piped', async () => {
  for (const isTTY of [true, false]) {
    const [input, output] = [Object.assign(new PassThrough(), { isTTY }), new PassThrough()];
    input.end();
    await converse(async () => '', input as unknown as NodeJS.ReadStream, output);
    output.end();
    assert.equal((await text(output)).includes('Ctrl-D ends'), isTTY);
  }
});
