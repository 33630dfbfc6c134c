/** `onebyte bench protocol`: what a round costs with many workers: real streams, a durable log, a trainer that applies. */
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServerCredentials } from '@grpc/grpc-js';
import seedrandom from 'seedrandom';
import type { Backend } from '../kernels/backend.ts';
import { exponentInForce } from '../kernels/learning-rule.ts';
import { applyRecord, initialReplica, replicaDigest } from '../kernels/replica.ts';
import { initialMatrices, learningRuleOf } from '../kernels/run-replica.ts';
import { selectBackend } from '../kernels/select-backend.ts';
import { firstMessage, forkModule } from '../platform/fork-module.ts';
import { Record } from '../proto/gen/onebyte.ts';
import { type RecordEntry, recordOf } from '../proto/record.ts';
import { canonicalJson, Learning, parseRunConfig, type RunConfig, runConfigSha256 } from '../proto/run-config.ts';
import { TrainerSettings } from '../settings/trainer-settings.ts';
import { runTrainer, type TrainerResult } from '../trainer/run-trainer.ts';
import { describeMachine, type Machine } from './machine.ts';
import type { Account, Assignment } from './protocol-workers.ts';

export interface ProtocolBenchOptions {
  /** One row for each. Default 1,000. */
  readonly workers?: readonly number[];
  /** Rounds that count. Default 100. */
  readonly rounds?: number;
  /** K. Default 8. */
  readonly directions?: number;
  /** Processes that the workers are spread over. Default 2. */
  readonly processes?: number;
}

export interface ProtocolBench {
  readonly rows: readonly ProtocolRow[];
  /** Adapter elements. */
  readonly elements: number;
  /** What a worker that is behind has to do: decode records and apply them. */
  readonly catchUp: { readonly elements: number; readonly gradients: number; readonly seconds: number };
  readonly settings: { readonly [name in 'rounds' | 'directions' | 'processes' | 'warmUp']: number };
  readonly machine: Machine;
}

export interface ProtocolRow {
  readonly workers: number;
  /** From record to record, all workers heard, the record on disk: ms. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** CPU time of a round, ms: of the trainer, and of all workers together. Start and warm-up are part of the latter. */
  readonly trainerCpuMs: number;
  readonly workersCpuMs: number;
  /** Socket bytes of one worker in one round. */
  readonly bytesUp: number;
  readonly bytesDown: number;
}

/** Rounds before those that count: compilers warm up. */
const WARM_UP = 10;
/** d of the demo: 49,152 elements. */
const MODULE = { name: 'm', rank: 8, fanIn: 3072, fanOut: 3072, scale: 1 };

export async function benchProtocol(options: ProtocolBenchOptions = {}): Promise<ProtocolBench> {
  const { workers = [1000], rounds = 100, directions = 8, processes = 2 } = options;
  const config = runConfig(directions);
  const machine = describeMachine();
  const directory = mkdtempSync(join(tmpdir(), 'onebyte-bench-'));
  const { backend } = await selectBackend('auto', availableParallelism());
  try {
    const rows: ProtocolRow[] = [];
    for (const n of workers) {
      const share = { workers: n, rounds, directions, processes };
      rows.push(await measure(share, config, join(directory, String(n)), backend));
    }
    return {
      rows,
      elements: MODULE.rank * (MODULE.fanIn + MODULE.fanOut),
      catchUp: await measureCatchUp(backend),
      settings: { rounds, directions, processes, warmUp: WARM_UP },
      machine,
    };
  } finally {
    await backend.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What a worker missed: 10,240 gradient bytes. */
const CATCH_UP = { elements: 250_000, records: 80, contributions: 16, directions: 8 };

async function measureCatchUp(backend: Backend): Promise<ProtocolBench['catchUp']> {
  const { elements, records, contributions, directions } = CATCH_UP;
  const rule = learningRuleOf(runConfig(directions));
  const random = seedrandom('bench/protocol');
  const entries = (): RecordEntry[] =>
    Array.from({ length: contributions }, (_, worker) => ({
      worker,
      staleness: 0,
      firstDirection: 0,
      gradientBytes: Buffer.from(Array.from({ length: directions }, () => 40 + 30 * random())),
    }));
  let replica = initialReplica(rule, backend.allocate(elements));
  let seconds = 0;
  for (let round = 0; round < records; round++) {
    const sent = Record.encode(recordOf(round, exponentInForce(replica.normaliser), entries())).finish();
    const start = performance.now();
    replica = await applyRecord(replica, rule, Record.decode(sent), backend);
    seconds += (performance.now() - start) / 1000;
  }
  return { elements, gradients: records * contributions * directions, seconds: Math.round(seconds * 1000) / 1000 };
}

/** The trainer's counters at the end of a round. */
interface Moment {
  readonly atMs: number;
  readonly cpuMs: number;
  readonly up: number;
  readonly down: number;
}

async function measure(
  { workers, rounds, directions, processes }: { [name in 'workers' | 'rounds' | 'directions' | 'processes']: number },
  config: RunConfig,
  directory: string,
  backend: Backend,
): Promise<ProtocolRow> {
  const moments: Moment[] = [];
  const matrices = initialMatrices(config, Buffer.alloc(0));
  const common = {
    directions,
    runConfigSha256: runConfigSha256(canonicalJson(config)).toString('hex'),
    initialDigest: replicaDigest(initialReplica(learningRuleOf(config), matrices)).toString('hex'),
  };
  const children: ChildProcess[] = [];
  const accounts: Promise<Account>[] = [];
  const died = new AbortController();
  const result = await runTrainer({
    config,
    settings: TrainerSettings.parse({ quorum: 'all', startWorkers: workers, evaluateEvery: 0, checkpointEvery: 0 }),
    rounds: rounds + WARM_UP,
    devRows: 0,
    directory,
    resume: false,
    initialAdapter: Buffer.alloc(0),
    backend,
    access: { credentials: ServerCredentials.createInsecure(), joinToken: undefined },
    onReport: (report, wire) => {
      if (report.kind === 'round') moments.push({ atMs: performance.now(), cpuMs: ownCpuMs(), ...wire });
    },
    onListening: (address) => {
      for (let i = 0; i < processes; i++) {
        const [firstWorker, next] = [i, i + 1].map((k) => Math.floor((workers * k) / processes)) as [number, number];
        const child = startWorkers({ ...common, address, firstWorker, workers: next - firstWorker });
        children.push(child);
        const account = firstMessage<Account>(child);
        account.catch(() => died.abort());
        accounts.push(account);
      }
    },
    drain: died.signal,
  }).finally(() => {
    if (moments.length < rounds + WARM_UP) for (const child of children) child.kill();
  });
  return summary(moments, await Promise.all(accounts), workers, result);
}

function startWorkers(assignment: Assignment): ChildProcess {
  const child = forkModule(new URL('protocol-workers', import.meta.url));
  child.send(assignment);
  return child;
}

function summary(
  moments: readonly Moment[],
  accounts: readonly Account[],
  workers: number,
  { rounds }: TrainerResult,
): ProtocolRow {
  const counted = moments.slice(WARM_UP - 1);
  const times = counted.slice(1).map(({ atMs }, i) => atMs - counted[i]!.atMs);
  times.sort((a, b) => a - b);
  const quantile = (q: number): number => times[Math.ceil(q * times.length) - 1]!;
  const [first, last] = [counted[0]!, counted.at(-1)!];
  const perRound = (total: number): number => Math.round((total / times.length) * 100) / 100;
  return {
    workers,
    p50Ms: Math.round(quantile(0.5)),
    p99Ms: Math.round(quantile(0.99)),
    maxMs: Math.round(quantile(1)),
    trainerCpuMs: perRound(last.cpuMs - first.cpuMs),
    workersCpuMs: Math.round(accounts.reduce((sum, { cpuMs }) => sum + cpuMs, 0) / rounds),
    bytesUp: perRound((last.up - first.up) / workers),
    bytesDown: perRound((last.down - first.down) / workers),
  };
}

function ownCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

const runConfig = (directions: number): RunConfig =>
  parseRunConfig(
    JSON.stringify({
      seed: 1,
      learning: { decayRounds: 0, ...Learning.parse({ directions }) },
      data: { shards: 1 },
      adapter: {
        baseModel: '',
        rank: MODULE.rank,
        alpha: MODULE.rank,
        useRslora: false,
        targetModules: [MODULE.name],
        rankPattern: {},
        alphaPattern: {},
        fanInFanOut: false,
        train: 'both',
        modules: [MODULE],
      },
      baseModelSha256: '0'.repeat(64),
    }),
    'the benchmark',
  );
