/**
 * TensorBoard event files: TFRecord frames (length, masked CRC-32C of it, data, masked CRC-32C of it) that hold Event
 * messages. Public format: tensorflow/core/lib/io/record_writer.h and core/util/event.proto.
 */
import { createWriteStream, mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Event, type Summary_Value } from '../../formats/gen/tensorboard.ts';
import type { EvaluationLine, RoundLine } from './line.ts';
import type { MetricsSink } from './run-metrics.ts';
import { metricsStream } from './stream.ts';

const CASTAGNOLI = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** CRC-32C (Castagnoli), as in RFC 3720. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CASTAGNOLI[(crc ^ byte) & 255]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** TFRecord's mask: rotated right by 15 bits, plus a constant, so that a CRC of data that holds CRCs stays good. */
export const maskedCrc32c = (bytes: Uint8Array): number => {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
};

/** One TFRecord frame of `data`. */
export function tfRecord(data: Uint8Array): Buffer {
  const header = Buffer.alloc(12);
  header.writeBigUInt64LE(BigInt(data.length));
  header.writeUInt32LE(maskedCrc32c(header.subarray(0, 8)), 8);
  const footer = Buffer.alloc(4);
  footer.writeUInt32LE(maskedCrc32c(data));
  return Buffer.concat([header, data, footer]);
}

/** The event of a line; `step` is the number of records done. What float32 cannot hold is left out. */
export function eventOf(line: RoundLine | EvaluationLine): Event {
  const scalars = line.kind === 'round' ? roundScalars(line) : evaluationScalars(line);
  const value: Summary_Value[] = Object.entries(scalars).flatMap(([tag, simpleValue]) =>
    simpleValue === undefined || !Number.isFinite(Math.fround(simpleValue))
      ? []
      : [{ tag, value: { $case: 'simpleValue', value: simpleValue } }],
  );
  if (line.kind === 'round') value.push(histogram(line));
  return { wallTime: line.at / 1000, step: line.round, what: { $case: 'summary', value: { value } } };
}

type Scalars = { readonly [tag: string]: number | undefined };

const evaluationScalars = ({ loss, lossPerToken, accuracy }: EvaluationLine): Scalars => ({
  'dev/loss': loss,
  'dev/loss_per_token': lossPerToken,
  'dev/accuracy': accuracy,
});

const roundScalars = (line: RoundLine): Scalars => ({
  'training/loss': line.trainingLoss?.perRow,
  'training/loss_per_token': line.trainingLoss?.perToken,
  'learning/rate': line.learningRate,
  'gradients/rms': line.rms,
  'gradients/applied': line.gradients,
  'gradients/clipped': line.clipped,
  'round/seconds': line.ms === undefined ? undefined : line.ms / 1000,
  'round/contributions': line.contributions,
  'round/missed': line.missed,
  'workers/members': line.members,
  'bytes/received': line.wire?.up,
  'bytes/sent': line.wire?.down,
});

/** Upper end of the magnitudes of E4M3 exponent `e`. */
const upperEnd = (e: number): number => (e === 15 ? 448 : 2 ** (e - 6));

/** The record's gradient bytes, decoded, in units of 2ˢ. */
function histogram({ buckets }: RoundLine): Summary_Value {
  const limits = [
    ...Array.from({ length: 16 }, (_, i) => (i === 15 ? -Number.MIN_VALUE : -upperEnd(14 - i))),
    ...Array.from({ length: 16 }, (_, i) => upperEnd(i)),
  ];
  const counts = [...buckets.slice(16, 32).reverse(), ...buckets.slice(0, 16)];
  // The limit of a negative bucket is its end near zero.
  const middleOf = (e: number): number => (upperEnd(e) * 3) / 4;
  const middles = limits.map((_, i) => (i < 16 ? -middleOf(15 - i) : middleOf(i - 16)));
  const sum = (of: (middle: number) => number): number =>
    counts.reduce((total, count, i) => total + count * of(middles[i]!), 0);
  return {
    tag: 'gradients/bytes',
    value: {
      $case: 'histo',
      value: {
        min: -448,
        max: 448,
        num: counts.reduce((total, count) => total + count, 0),
        sum: sum((x) => x),
        sumSquares: sum((x) => x * x),
        bucketLimit: limits,
        bucket: counts,
      },
    },
  };
}

/** Writes the rounds and evaluations of this trainer to a new event file in `directory`, made with the first of them. */
export function tensorboardWriter(directory: string, now: () => number, onError: (error: Error) => void): MetricsSink {
  const { write, close } = metricsStream(() => {
    mkdirSync(directory, { recursive: true });
    const seconds = String(Math.floor(now() / 1000)).padStart(10, '0');
    const opened = createWriteStream(join(directory, `events.out.tfevents.${seconds}.${hostname()}.${process.pid}.0`));
    opened.write(encode({ wallTime: now() / 1000, step: 0, what: { $case: 'fileVersion', value: 'brain.Event:2' } }));
    return opened;
  }, onError);
  return {
    onObservation(seen) {
      if (seen.kind !== 'round' && seen.kind !== 'evaluation') return;
      // TensorBoard has no event without a time: the first known one is that of its writing.
      write(encode(eventOf({ ...seen, at: seen.at > 0 ? seen.at : now() })));
    },
    close,
  };
}

const encode = (event: Event): Buffer => tfRecord(Event.encode(event).finish());
