/** One run of a real trainer and real workers over links, and what its counters say. */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { makeAuthority } from '../../platform/certificates.ts';
import { deferred } from '../../platform/deferred.ts';
import { type ChildMessage, childFailure, startChild } from '../../processes/child-process.ts';
import type { Learning } from '../../proto/run-config.ts';
import type { TrainerResult } from '../../trainer/run-trainer.ts';
import { HEADER_BYTES, type LinkProperties } from './link.ts';
import { createNetwork, type Network, type Traffic } from './network.ts';
import { startProxy } from './start-proxy.ts';

export interface Way<T> {
  readonly up: T;
  readonly down: T;
}

export interface RunCell extends LinkProperties {
  readonly workers: number;
  /** K. */
  readonly directions: number;
  readonly estimator: Learning['estimator'];
  readonly maxStaleness: number;
  readonly tls: boolean;
  /** Records that count. */
  readonly rounds: number;
}

export interface RunMeasurement {
  /** From record to record, mean, ms. */
  readonly roundMs: number;
  readonly gradientsPerSecond: number;
  /** Gradients that were applied in a round. */
  readonly gradientsPerRound: number;
  /** Socket bytes of all workers in a round. */
  readonly socket: Way<number>;
  /** The same at the interfaces, headers and acknowledgements included. */
  readonly interface?: Way<number>;
  /** Socket bytes of one worker before the first record. */
  readonly join: Way<number>;
  /** Bytes of gradients that the trainer received, for each that it applied. */
  readonly payload: number;
  /** Socket bytes as the trainer counted them, over the bytes beside headers that the interfaces saw in the same rounds. */
  readonly countedOverSeen?: Way<number>;
}

/** Records before those that count, and after them: workers that leave send more. */
const WARM_UP = 5;
const COOL_DOWN = 2;
/** A record is reported as it is sent: after so long all its copies are out, and the workers still measure, ms. */
const LEAVING_MS = 10;
/** A run that takes longer has failed. */
const MAX_RUN_MS = 480_000;

interface Moment {
  readonly atMs: number;
  readonly gradients: number;
  readonly wire: Way<number>;
  traffic: ReturnType<Network['traffic']>;
}

/** @param example directory with model/ and train.jsonl; its model should be fast, so that the link is what takes time */
export async function measureRun(example: string, cell: RunCell, shaped: boolean): Promise<RunMeasurement> {
  const directory = mkdtempSync(join(tmpdir(), 'onebyte-bandwidth-'));
  const network = createNetwork(shaped, cell.workers, cell.rate);
  const stop: (() => void)[] = [];
  try {
    return await runProcesses(example, cell, directory, network, stop);
  } finally {
    for (const each of stop) each();
    network.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function runProcesses(
  example: string,
  cell: RunCell,
  directory: string,
  network: Network,
  stop: (() => void)[],
): Promise<RunMeasurement> {
  const runFile = writeRunFile(example, cell, directory);
  const { trainerFlags, workerFlags } = tlsFlags(cell.tls, directory, network.trainerHost);
  const address = deferred<string>();
  const result = deferred<TrainerResult>();
  const moments = new Map<number, Moment>();
  let gradients = 0;
  const launch = (
    name: string,
    args: readonly string[],
    place: 'trainer' | number,
    onMessage: (m: ChildMessage) => void,
  ) => {
    const child = startChild(args, join(directory, 'logs', `${name}.log`), onMessage, network.inside(place));
    stop.push(() => child.process.kill('SIGKILL'));
    const failed = child.exit.then(({ code }) => {
      if (code !== 0) result.reject(childFailure(`${name} ended with code ${code}`, child, code));
    });
    failed.catch((error) => result.reject(error));
    return failed;
  };
  const onTrainer = (message: ChildMessage): void => {
    if (message.kind === 'listening') address.resolve(message.address);
    if (message.kind === 'trainerResult') result.resolve(message.result);
    if (message.kind !== 'trainer' || message.report.kind !== 'round') return;
    const { round, gradients: more } = message.report;
    gradients += more;
    const moment: Moment = { atMs: performance.now(), gradients, wire: message.wire, traffic: undefined };
    moments.set(round, moment);
    const isEdge = round === WARM_UP || round === WARM_UP + cell.rounds;
    if (isEdge) setTimeout(() => (moment.traffic = network.traffic()), LEAVING_MS);
  };
  const listen = ['--listen', `${network.trainerHost}:0`, '--out', directory];
  const processes = [
    launch('trainer', ['trainer', runFile, '--resume', ...listen, ...trainerFlags], 'trainer', onTrainer),
  ];
  const listening = await Promise.race([address.promise, result.promise.then(() => '')]);
  const target = { host: network.trainerHost, port: Number(listening.split(':').at(-1)) };
  const proxy = await startProxy(network, target, cell);
  stop.push(() => proxy.process.kill('SIGKILL'));
  const common = ['worker', runFile, '--trainer', proxy.address, '--threads', '1', ...workerFlags];
  for (let i = 0; i < cell.workers; i++)
    processes.push(launch(`worker-${i}`, [...common, '--number', String(i)], i, () => {}));
  const timer = setTimeout(() => result.reject(new Error(`a run took over ${MAX_RUN_MS / 1000} s`)), MAX_RUN_MS);
  stop.push(() => clearTimeout(timer));
  const trainer = await result.promise;
  await Promise.race([Promise.all(processes), once(AbortSignal.timeout(10_000), 'abort')]);
  return summary(cell, moments, trainer);
}

function summary(
  { rounds, workers }: RunCell,
  moments: ReadonlyMap<number, Moment>,
  trainer: TrainerResult,
): RunMeasurement {
  const [start, first, last] = [1, WARM_UP, WARM_UP + rounds].map((round) => moments.get(round)!) as [
    Moment,
    Moment,
    Moment,
  ];
  const ways = <T>(of: (way: 'up' | 'down') => T): Way<T> => ({ up: of('up'), down: of('down') });
  const roundMs = (last.atMs - first.atMs) / rounds;
  const gradients = last.gradients - first.gradients;
  const socket = ways((way) => (last.wire[way] - first.wire[way]) / rounds);
  const [before, after] = [first.traffic, last.traffic];
  const withoutHeaders = ({ bytes, packets }: Traffic): number => bytes - HEADER_BYTES * packets;
  return {
    roundMs,
    gradientsPerSecond: gradients / ((last.atMs - first.atMs) / 1000),
    gradientsPerRound: gradients / rounds,
    socket,
    join: ways((way) => (start.wire[way] - socket[way]) / workers),
    payload: trainer.payloadBytesUp / trainer.gradients,
    ...(before &&
      after && {
        interface: ways((way) => (after[way].bytes - before[way].bytes) / rounds),
        countedOverSeen: ways(
          (way) => (socket[way] * rounds) / (withoutHeaders(after[way]) - withoutHeaders(before[way])),
        ),
      }),
  };
}

function writeRunFile(example: string, cell: RunCell, directory: string): string {
  const { directions, estimator, maxStaleness, rounds, workers } = cell;
  const file = join(directory, 'bench.yaml');
  mkdirSync(join(directory, 'logs'));
  const run = {
    model: resolve(example, 'model'),
    seed: 1,
    rounds: WARM_UP + rounds + COOL_DOWN,
    data: { train: resolve(example, 'train.jsonl'), maxLength: 128, shards: workers },
    learning: { directions, estimator, maxStaleness },
    trainer: { startWorkers: workers, quorum: 'all', evaluateEvery: 0, checkpointEvery: 0, leaseMs: 120_000 },
  };
  writeFileSync(file, stringify(run));
  return file;
}

/** A certificate for the trainer's address alone. */
function tlsFlags(tls: boolean, directory: string, host: string): { trainerFlags: string[]; workerFlags: string[] } {
  if (!tls) return { trainerFlags: ['--insecure'], workerFlags: ['--insecure'] };
  const { ca, issue } = makeAuthority(directory, 'authority', 2);
  const { cert, key } = issue('trainer', [`IP:${host}`]);
  return { trainerFlags: ['--tls-cert', cert, '--tls-key', key], workerFlags: ['--tls-ca', ca] };
}
