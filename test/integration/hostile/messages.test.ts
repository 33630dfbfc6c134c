/** Messages that no worker would send, to a real trainer at work: honest workers go on, and their replicas stay equal. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import seedrandom from 'seedrandom';
import { type ReplicaDigest, WorkerMessage } from '../../../proto/gen/onebyte.ts';
import { MAX_WORKER_MESSAGE_BYTES } from '../../../proto/limits.ts';
import { entriesOf } from '../../../proto/record.ts';
import { canonicalJson, runConfigSha256 } from '../../../proto/run-config.ts';
import { roundLogFile } from '../../../trainer/store/open-run.ts';
import { readRoundLog, recordsOf } from '../../../trainer/store/round-log.ts';
import { arena } from '../../support/arena.ts';
import { mutated, randomBytes } from '../../support/mutate.ts';
import { grpcFrame } from '../../support/raw-peer.ts';
import { smallRunConfig } from '../../support/small-run.ts';

type Message = NonNullable<WorkerMessage['message']>;
const config = smallRunConfig({ maxStaleness: 2 });

const encode = (message: Message): Uint8Array => WorkerMessage.encode({ message }).finish();
const hello = (name: string, more: object = {}): Message => ({
  $case: 'hello',
  value: {
    name,
    resumeSecret: Buffer.alloc(0),
    runConfigSha256: runConfigSha256(canonicalJson(config)),
    ...more,
  },
});
const contribution = (measuredRound: number, gradientBytes: Uint8Array, firstDirection = 0): Message => ({
  $case: 'contribution',
  value: { measuredRound, firstDirection, gradientBytes: Buffer.from(gradientBytes) },
});
const digest = (bytes: number): ReplicaDigest => ({ round: 0, sha256: Buffer.alloc(bytes) });
const EIGHT = Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]);

/** What a hostile stream says, and the status that ends it. */
const REFUSED: readonly (readonly [string, status, ...Uint8Array[]])[] = [
  ['a contribution before its hello', status.INVALID_ARGUMENT, encode(contribution(0, EIGHT))],
  ['a heartbeat before its hello', status.INVALID_ARGUMENT, encode({ $case: 'heartbeat', value: {} })],
  ['two hellos', status.INVALID_ARGUMENT, encode(hello('x1')), encode(hello('y'))],
  ['a message without content', status.INVALID_ARGUMENT, new Uint8Array()],
  ['a hello without a name', status.INVALID_ARGUMENT, encode(hello(''))],
  ['a name with a line break', status.INVALID_ARGUMENT, encode(hello('x\ny'))],
  ['a name of 129 characters', status.INVALID_ARGUMENT, encode(hello('x2'.repeat(129)))],
  ['another run config', status.FAILED_PRECONDITION, encode(hello('x3', { runConfigSha256: Buffer.alloc(32) }))],
  ['no run config', status.FAILED_PRECONDITION, encode(hello('x4', { runConfigSha256: Buffer.alloc(0) }))],
  ['a number beyond the last', status.INVALID_ARGUMENT, encode(hello('last', { requestedWorker: 2 ** 32 - 1 }))],
  ["another worker's name with a made-up secret", status.ALREADY_EXISTS, encode(hello('a', { resumeSecret: EIGHT }))],
  ['a replica without a digest', status.INVALID_ARGUMENT, encode(hello('x5', { replica: digest(0) }))],
  [
    'a digest of 33 bytes',
    status.INVALID_ARGUMENT,
    encode(hello('x6')),
    encode({ $case: 'digest', value: digest(33) }),
  ],
  ['a byte 0xff', status.INVALID_ARGUMENT, encode(hello('x7')), encode(contribution(0, new Uint8Array(8).fill(0xff)))],
  ['no bytes', status.INVALID_ARGUMENT, encode(hello('x8')), encode(contribution(0, EIGHT.subarray(8)))],
  ['too many bytes', status.INVALID_ARGUMENT, encode(hello('x9')), encode(contribution(0, new Uint8Array(4096)))],
  ['a round to come', status.INVALID_ARGUMENT, encode(hello('x10')), encode(contribution(2 ** 32 - 1, EIGHT))],
  [
    'a first direction of 2³²−8',
    status.INVALID_ARGUMENT,
    encode(hello('x11')),
    encode(contribution(0, EIGHT, 2 ** 32 - 8)),
  ],
  ['a message beyond the limit', status.RESOURCE_EXHAUSTED, new Uint8Array(MAX_WORKER_MESSAGE_BYTES + 1)],
  ['bytes that are no message', status.INTERNAL, Buffer.from([0x0a, 0x7f, 0xff])],
];

describe('a hostile stream', () => {
  it('is ended with a status of its own for each thing that must not be said, and honest workers go on', async (t) => {
    const { join, finish } = await arena(t, config);
    for (const [what, expected, ...messages] of REFUSED) {
      const { status: got, text } = await join(...messages).ended;
      assert.equal(got, String(expected), `${what}: ${text}`);
    }
    await finish();
  });

  it('that claims 4 GiB, a compressed frame or a bomb is ended before anything is allocated', async (t) => {
    const { join, finish } = await arena(t, config);
    const bomb = gzipSync(Buffer.alloc(50_000_000));
    assert(bomb.length < MAX_WORKER_MESSAGE_BYTES);
    const answers = await Promise.all(
      [
        grpcFrame(EIGHT, { length: 2 ** 32 - 1 }),
        grpcFrame(EIGHT, { compressed: 1 }),
        grpcFrame(bomb, { compressed: 1 }),
      ].map(async (frame, i) => {
        const call = join();
        call.stream.write(frame);
        return [i, Number((await call.ended).status)];
      }),
    );
    assert.deepEqual(answers, [
      [0, status.RESOURCE_EXHAUSTED],
      [1, status.INTERNAL],
      [2, status.INTERNAL],
    ]);
    await finish();
  });

  it('counts once however often it repeats itself, with late, saturated and abstaining bytes', async (t) => {
    const { trainer, join, finish } = await arena(t, config);
    const x = join(
      encode(hello('x', { requestedWorker: 7 })),
      encode({ $case: 'digest', value: { round: 1, sha256: Buffer.alloc(32) } }),
    );
    for (let i = 0; i < 3000; i++) {
      const round = Math.max(0, (trainer.reports.findLast((r) => r.kind === 'round')?.round ?? 0) - (i % 4));
      const bytes = Buffer.alloc(8, [0x7e, 0xfe, 0x7f, 0][i % 4]);
      x.stream.write(grpcFrame(encode(contribution(round, bytes, 8 * (i % 3)))));
      if (i % 100 === 0) await setImmediate();
    }
    await finish();
    const { frames } = await readRoundLog(roundLogFile(trainer.directory));
    const places = recordsOf(frames).flatMap((record) =>
      entriesOf(record).map((e) => `${record.round - e.staleness} ${e.worker} ${e.firstDirection}`),
    );
    assert(
      places.some((place) => place.split(' ')[1] === '7'),
      'the hostile worker was counted at all',
    );
    assert.equal(new Set(places).size, places.length);
  });
});

describe('the trainer', () => {
  for (const seed of ['1', '2', '3'])
    it(`lives through 1,500 changed messages and random frames (seed ${seed})`, async (t) => {
      const { join, finish } = await arena(t, config);
      const random = seedrandom(`messages/${seed}`);
      const valid = [
        hello('fuzz', { requestedWorker: 9, replica: { round: 1, sha256: Buffer.alloc(32, 1) } }),
        contribution(1, EIGHT, 8),
        {
          $case: 'evaluation',
          value: { round: 0, firstRow: 0, rows: 1, correct: 1, classified: 1, lossSum: Number.NaN },
        },
        { $case: 'digest', value: { round: 16, sha256: Buffer.alloc(32, 2) } },
        { $case: 'heartbeat', value: {} },
        { $case: 'leave', value: { reason: 'fuzz' } },
      ] as const satisfies readonly Message[];
      for (let i = 0; i < 300; i++) {
        const name = encode(hello(`fuzz-${Math.floor(random() * 4)}`));
        const call = random() < 0.2 ? join() : join(name);
        for (let k = 0; k < 5; k++) {
          const bytes = mutated(encode(valid[Math.floor(random() * valid.length)]!), random);
          call.stream.write(random() < 0.1 ? randomBytes(Math.floor(random() * 300), random) : grpcFrame(bytes));
        }
        const way = random();
        if (way < 0.3) call.stream.destroy();
        else call.stream.end();
        await call.ended;
      }
      await finish();
    });
});
