/**
 * Makes this process kill itself (SIGKILL) at named points. Product code knows nothing of it: the points lie around its
 * calls of the file system and of gRPC.
 *
 * ONEBYTE_CRASHES holds JSON `{ directory, plans: { trainer: [point, …], "worker-0": […] } }`. A process dies in its n-th
 * life at the n-th point of its plan, at the point's LATER-th occurrence; a file in `directory` marks each death.
 */

import fs, { existsSync, type WriteVResult, writeFileSync } from 'node:fs';
import promises, { type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import type { TrainerClient, WorkerMessage } from '../../proto/gen/onebyte.ts';
import type { JoinStreams } from '../../trainer/transport/join-streams.ts';

export type CrashPoint =
  | 'in the middle of the header'
  | 'before append'
  | 'in the middle of an append'
  | 'before fsync'
  | 'after fsync'
  | 'before broadcast'
  | 'after broadcast'
  | 'before rename'
  | 'after rename'
  | 'before contribution'
  | 'after contribution';

export interface CrashPlan {
  readonly directory: string;
  readonly plans: { readonly [role: string]: readonly CrashPoint[] };
}

/** Occurrences that pass before a process dies, so that it has done some work in this life; not where points are rare. */
const LATER = 5;

const plan: CrashPlan = JSON.parse(process.env.ONEBYTE_CRASHES ?? '{"plans":{}}');
const [, , command = '', ...args] = process.argv;
const role = command === 'worker' ? `worker-${args[args.indexOf('--number') + 1]}` : command;
const points = plan.plans[role] ?? [];
const marker = (life: number): string => join(plan.directory, `${role}-${life}`);
const life = points.findIndex((_, i) => !existsSync(marker(i)));
let occurrences = 0;

function die(): never {
  writeFileSync(marker(life), String(points[life]));
  process.kill(process.pid, 'SIGKILL');
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

const isHere = (point: CrashPoint): boolean =>
  life >= 0 && points[life] === point && (/(rename|header)$/.test(point) || ++occurrences > LATER);

function reach(point: CrashPoint): void {
  if (isHere(point)) die();
}

/** Puts the points of the round log around the handle's writes. */
function watched(handle: FileHandle): FileHandle {
  const { writev, datasync } = handle;
  handle.writev = async <T extends readonly NodeJS.ArrayBufferView[]>(buffers: T, position?: number) => {
    reach('before append');
    if ((position === 0 && isHere('in the middle of the header')) || isHere('in the middle of an append')) {
      const bytes = Buffer.concat(buffers.map((b) => Buffer.from(b.buffer, b.byteOffset, b.byteLength)));
      await writev.call(handle, [bytes.subarray(0, bytes.length >> 1)], position);
      die();
    }
    return (await writev.call(handle, buffers, position)) as WriteVResult<T>;
  };
  handle.datasync = async () => {
    reach('before fsync');
    await datasync.call(handle);
    reach('after fsync');
  };
  return handle;
}

/** Lays the points around the calls of the classes that this process uses, from the sources or compiled. */
export function layCrashPoints(streams: JoinStreams, client: TrainerClient): void {
  const { open } = promises;
  promises.open = async (path, ...more) => {
    const handle = await open(path, ...more);
    return /round\.log(\.new)?$/.test(String(path)) ? watched(handle) : handle;
  };
  const { renameSync } = fs;
  fs.renameSync = (from, to) => {
    const isCheckpoint = /round-\d+$/.test(String(to));
    if (isCheckpoint) reach('before rename');
    renameSync(from, to);
    if (isCheckpoint) reach('after rename');
  };
  syncBuiltinESMExports();

  const { broadcast } = streams;
  streams.broadcast = function (bytes) {
    reach('before broadcast');
    broadcast.call(this, bytes);
    reach('after broadcast');
  };

  const joinTrainer = client.join as (...options: unknown[]) => ReturnType<typeof client.join>;
  client.join = function (...options: unknown[]) {
    const call = joinTrainer.apply(this, options);
    const write = call.write.bind(call) as (message: WorkerMessage) => boolean;
    call.write = (message: WorkerMessage) => {
      const isContribution = message.message?.$case === 'contribution';
      if (isContribution) reach('before contribution');
      const more = write(message);
      if (isContribution) reach('after contribution');
      return more;
    };
    return call;
  };
}
