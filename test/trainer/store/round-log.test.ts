/** The round log under damage: what is lost is noticed, and what is left is the truth. */
import assert from 'node:assert/strict';
import { closeSync, existsSync, openSync, readFileSync, statSync, truncateSync, unlinkSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LogFrame } from '../../../proto/gen/onebyte.ts';
import { MAX_ADAPTER_BYTES, MAX_LOG_FRAME_BYTES } from '../../../proto/limits.ts';
import { decodeLogFrames, encodeLogFrame } from '../../../proto/log-framing.ts';
import { createRoundLog, LOG_FORMAT, readRoundLog, reopenRoundLog } from '../../../trainer/store/round-log.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

/** A log of 4 KiB: frames of 1…80 bytes, as records are. */
function sampleLog(): { log: Buffer; payloads: Buffer[] } {
  const payloads: Buffer[] = [];
  let log = Buffer.alloc(0);
  for (let i = 0; log.length < 4096; i++) {
    const length = Math.min(1 + ((i * 37) % 80), Math.max(1, 4096 - log.length - 12));
    const payload = Buffer.from(Array.from({ length }, (_, j) => (i * 31 + j * 7) & 255));
    payloads.push(payload);
    log = Buffer.concat([log, encodeLogFrame(log.length, payload)]);
  }
  return { log, payloads };
}

const isPrefix = (found: readonly Buffer[], whole: readonly Buffer[]): boolean =>
  found.length <= whole.length && found.every((payload, i) => payload.equals(whole[i]!));

const header = { format: LOG_FORMAT, runConfig: '{}', matrices: Buffer.alloc(0), runSecret: Buffer.alloc(32, 7) };
const joined = (worker: number): LogFrame => ({
  frame: { $case: 'joined', value: { worker, name: `w${worker}`, membership: worker } },
});

describe('a round log', () => {
  it('shows every flip of a single bit', () => {
    const { log, payloads } = sampleLog();
    for (let bit = 0; bit < 8 * log.length; bit++) {
      log[bit >> 3]! ^= 1 << (bit & 7);
      const found = decodeLogFrames(log);
      assert.notEqual(found.tail.kind, 'clean', `bit ${bit} flipped in silence`);
      assert(found.payloads.length < payloads.length && isPrefix(found.payloads, payloads), `bit ${bit}`);
      log[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  it('keeps whole frames, and no others, at every truncation', () => {
    const { log, payloads } = sampleLog();
    const ends = new Set<number>([0]);
    let end = 0;
    for (const payload of payloads) {
      end += 12 + payload.length;
      ends.add(end);
    }
    for (let length = 0; length < log.length; length++) {
      const found = decodeLogFrames(log.subarray(0, length));
      assert(isPrefix(found.payloads, payloads), `cut at ${length}`);
      assert.equal(found.tail.kind, ends.has(length) ? 'clean' : 'torn', `cut at ${length}`);
    }
  });

  it('takes no more once it was removed', async () => {
    const file = join(temporaryDirectory(), 'round.log');
    const log = await createRoundLog(file, header);
    await log.append([joined(0)]);
    unlinkSync(file);
    await assert.rejects(log.append([joined(1)]), { exitCode: 5, message: /round\.log: it was removed/ });
    await log.close();
  });

  it('refuses damage before valid frames and says where', async () => {
    const file = join(temporaryDirectory(), 'round.log');
    const log = await createRoundLog(file, header);
    const { size } = statSync(file);
    await log.append([joined(0), joined(1), joined(2)]);
    await log.close();
    const bytes = readFileSync(file);
    bytes[size + 14]! ^= 1;
    const { tail } = decodeLogFrames(bytes);
    assert(tail.kind === 'damaged');
    assert.equal(tail.position, size);
  });

  it('is cut at a torn tail, counted, and goes on behind it', async () => {
    const file = join(temporaryDirectory(), 'round.log');
    const log = await createRoundLog(file, header);
    await log.append([joined(0), joined(1)]);
    await log.close();
    truncateSync(file, statSync(file).size - 3);
    const contents = await readRoundLog(file);
    assert.deepEqual(contents.frames, [joined(0)]);
    assert(contents.tornBytes > 0);
    const again = await reopenRoundLog(file, contents);
    await again.append([joined(2)]);
    await again.close();
    const { frames, tornBytes } = await readRoundLog(file);
    assert.deepEqual({ frames, tornBytes }, { frames: [joined(0), joined(2)], tornBytes: 0 });
  });

  it('reads whatever frame it takes, and takes one with an adapter as large as a snapshot may be', () => {
    const { payloads } = decodeLogFrames(encodeLogFrame(0, Buffer.alloc(2 ** 28 + 1, 1)));
    assert.equal(payloads[0]?.length, 2 ** 28 + 1);
    assert(MAX_LOG_FRAME_BYTES > MAX_ADAPTER_BYTES);
    assert.throws(() => encodeLogFrame(0, Buffer.alloc(MAX_LOG_FRAME_BYTES + 1)), { exitCode: 2, message: /at most/ });
  });

  it('of more than 2 GiB is read', async () => {
    const file = join(temporaryDirectory(), 'round.log');
    const log = await createRoundLog(file, header);
    await log.append([joined(0)]);
    await log.close();
    const { size } = statSync(file);
    const holes = 2 ** 31;
    truncateSync(file, size + holes);
    const { frames, tornBytes } = await readRoundLog(file);
    assert.deepEqual({ frames, tornBytes }, { frames: [joined(0)], tornBytes: holes });
    // Behind the holes stands a frame: that is damage, and no torn tail.
    const last = encodeLogFrame(size + holes, LogFrame.encode(joined(1)).finish());
    const handle = openSync(file, 'r+');
    writeSync(handle, last, 0, last.length, size + holes);
    closeSync(handle);
    await assert.rejects(readRoundLog(file), { exitCode: 5, message: new RegExp(`from byte ${size + holes} on`) });
  });

  it('is not there where its header could not be written', async (test) => {
    const file = join(temporaryDirectory(), 'round.log');
    const handle = await open(temporaryDirectory());
    const writev = test.mock.method(Object.getPrototypeOf(handle), 'writev');
    await handle.close();
    writev.mock.mockImplementationOnce(async () => {
      throw Object.assign(new Error('full'), { code: 'ENOSPC' });
    });
    await assert.rejects(createRoundLog(file, header), { exitCode: 5, message: /ENOSPC at byte 0/ });
    assert(!existsSync(file));
  });
});
