/** TensorBoard's files: framing by published vectors, and events that read back. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Event } from '../../../formats/gen/tensorboard.ts';
import { crc32c, eventOf, maskedCrc32c, tensorboardWriter, tfRecord } from '../../../trainer/metrics/tensorboard.ts';
import { roundLine } from '../../support/observed-run.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

describe('a TensorBoard event file', () => {
  it('has the CRC-32C of RFC 3720, appendix B.4', () => {
    assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
    assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43);
    assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
    assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
  });

  it("masks it as TensorBoard's own writer does", () => {
    // python -c "from tensorboard.summary.writer.record_writer import masked_crc32c as m; print(hex(m(b'123456789')))"
    assert.equal(maskedCrc32c(Buffer.from('123456789')), 0xc78ab0e5);
  });

  it('frames a record as length, masked CRC, data, masked CRC', () => {
    const frame = tfRecord(Buffer.from('abc'));
    assert.equal(frame.length, 8 + 4 + 3 + 4);
    assert.equal(frame.readBigUInt64LE(0), 3n);
    assert.equal(frame.readUInt32LE(8), maskedCrc32c(frame.subarray(0, 8)));
    assert.equal(frame.readUInt32LE(15), maskedCrc32c(Buffer.from('abc')));
  });

  it('leaves out what float32 cannot hold', () => {
    const of = (loss: number) =>
      eventOf({ kind: 'evaluation', at: 1, round: 2, rows: 3, loss, accuracy: 0.5, best: false });
    for (const loss of [-1e300, Number.NaN])
      assert.deepEqual(Event.decode(Event.encode(of(loss)).finish()), of(loss), String(loss));
    const tags = [-1e300, 1].map((loss) => {
      const { what } = of(loss);
      return what?.$case === 'summary' ? what.value.value.map(({ tag }) => tag) : [];
    });
    assert.deepEqual(tags, [['dev/accuracy'], ['dev/loss', 'dev/accuracy']]);
  });

  it('holds the losses of a row and of a token, of evaluations and of minibatches', () => {
    const scalars = (line: Parameters<typeof eventOf>[0]) => {
      const { what } = Event.decode(Event.encode(eventOf(line)).finish());
      assert(what?.$case === 'summary');
      return what.value.value.flatMap(({ tag, value }) =>
        value?.$case === 'simpleValue' && tag.includes('loss') ? [[tag, value.value]] : [],
      );
    };
    assert.deepEqual(scalars(roundLine(1, { trainingLoss: { perRow: 2, perToken: 0.5 } })), [
      ['training/loss', 2],
      ['training/loss_per_token', 0.5],
    ]);
    assert.deepEqual(scalars(roundLine(1)), []);
    const evaluation = { kind: 'evaluation', at: 1, round: 2, rows: 3, best: false } as const;
    assert.deepEqual(scalars({ ...evaluation, loss: 3, lossPerToken: 0.75 }), [
      ['dev/loss', 3],
      ['dev/loss_per_token', 0.75],
    ]);
  });

  it('holds the numbers of a round, and all its gradient bytes as a histogram', () => {
    const { step, wallTime, what } = Event.decode(Event.encode(eventOf(roundLine(7))).finish());
    assert.deepEqual([step, wallTime], [7, 7]);
    assert(what?.$case === 'summary');
    const values = what.value.value;
    const rms = values.find(({ tag }) => tag === 'gradients/rms')?.value;
    assert.deepEqual(rms, { $case: 'simpleValue', value: 1.5 });
    const histogram = values.find(({ tag }) => tag === 'gradients/bytes')?.value;
    assert(histogram?.$case === 'histo');
    const { num, bucket, bucketLimit } = histogram.value;
    assert.equal(num, 16);
    assert.equal(bucket.length, bucketLimit.length);
    assert(bucketLimit.every((limit, i) => i === 0 || limit > bucketLimit[i - 1]!));
  });

  it('has no mean where as many gradient bytes are negative as positive', () => {
    const { what } = eventOf(roundLine(1, { buckets: Array.from({ length: 33 }, (_, i) => (i < 32 ? 1 : 0)) }));
    assert(what?.$case === 'summary');
    const histogram = what.value.value.find(({ tag }) => tag === 'gradients/bytes')?.value;
    assert(histogram?.$case === 'histo');
    assert.equal(histogram.value.sum, 0);
  });

  it('has the time of its writing where that of a round is not known', async () => {
    const directory = temporaryDirectory();
    const writer = tensorboardWriter(directory, () => 1e12, assert.ifError);
    writer.onObservation(roundLine(1, { at: 0 }));
    await writer.close();
    const file = readFileSync(join(directory, readdirSync(directory)[0]!));
    const second = 16 + Number(file.readBigUInt64LE(0));
    const bytes = file.subarray(second + 12, second + 12 + Number(file.readBigUInt64LE(second)));
    assert.equal(Event.decode(bytes).wallTime, 1e9);
  });
});
