/** `onebyte bench bandwidth`: what a run sends and how long its rounds take over slow links, beside averaging float32 gradients. */
import { join } from 'node:path';
import { adapterLayout } from '../kernels/adapter-layout.ts';
import { openBaseModel } from '../model/base-model.ts';
import { newAdapter } from '../processes/prepare-run.ts';
import type { Learning } from '../proto/run-config.ts';
import { type AveragingRow, measureAveraging } from './bandwidth/alternatives.ts';
import { transmissionMs, withHeaders } from './bandwidth/link.ts';
import { measureRun, type RunCell, type RunMeasurement, type Way } from './bandwidth/measure-run.ts';
import { namespaceProblem } from './bandwidth/network.ts';
import { describeMachine, type Machine } from './machine.ts';
import { rounded } from './rounded.ts';

export interface BandwidthBenchOptions {
  /** Directory of the example: model/, train.jsonl. */
  readonly example: string;
  /** Cells whose name contains this; default: all. */
  readonly only?: string;
  /** Python with PyTorch, for gloo; undefined: left out. */
  readonly python?: string;
  /** Without namespaces also where they can be had. */
  readonly loopback?: boolean;
  readonly onRow?: (row: BandwidthRow | AveragingRow) => void;
}

/** One cell. Bytes are of one gradient; down: of one gradient and one worker that receives it. An absent link has no limits. */
export interface BandwidthRow {
  readonly name: string;
  readonly rate?: number;
  readonly roundTripMs: number;
  readonly workers: number;
  readonly directions: number;
  /** Absent in results of before it could be chosen: spsa. */
  readonly estimator?: Learning['estimator'];
  readonly maxStaleness: number;
  readonly tls: boolean;
  readonly roundMs: number;
  readonly gradientsPerSecond: number;
  readonly payload: number;
  readonly socket: Way<number>;
  readonly interface?: Way<number>;
  /** Socket bytes of one worker's join. */
  readonly join: Way<number>;
  readonly countedOverSeen?: Way<number>;
  /** Part of the round beyond that of the same run without a link. */
  readonly communication?: number;
  /**
   * Round time without a link, round trip, and at the line's rate a contribution up and a record down with their headers, one after the
   * other; acknowledgements pass meanwhile.
   */
  readonly expectedRoundMs?: number;
}

export interface BandwidthBench {
  readonly rows: readonly BandwidthRow[];
  readonly averaging: readonly AveragingRow[];
  /** What made the links, and what was left out and why. */
  readonly notes: readonly string[];
  /** d. */
  readonly elements: number;
  readonly machine: Machine;
}

const KBIT = 1e3;
const MBIT = 1e6;
const CENTRE: RunCell = {
  rate: MBIT,
  roundTripMs: 50,
  workers: 4,
  directions: 8,
  estimator: 'spsa',
  maxStaleness: 0,
  tls: false,
  rounds: 60,
};
/** A cross around 1 Mbit/s and 50 ms, its far corner, and what single options change. */
const CELLS: readonly (Partial<RunCell> & { name: string })[] = [
  { name: 'centre' },
  { name: 'rate 9.6 kbit/s', rate: 9.6 * KBIT, rounds: 40 },
  { name: 'rate 56 kbit/s', rate: 56 * KBIT },
  { name: 'rate 100 Mbit/s', rate: 100 * MBIT },
  { name: 'delay 1 ms', roundTripMs: 1 },
  { name: 'delay 300 ms', roundTripMs: 300 },
  { name: 'workers 2', workers: 2 },
  { name: 'workers 16', workers: 16 },
  { name: 'far 9.6 kbit/s 300 ms', rate: 9.6 * KBIT, roundTripMs: 300, rounds: 40 },
  { name: 'tls', tls: true },
  { name: 'directions 64', directions: 64 },
  { name: 'directions 64 tls', directions: 64, tls: true },
  { name: 'backward 256', estimator: 'backward', directions: 256 },
  { name: 'backward 256 9.6 kbit/s', estimator: 'backward', directions: 256, rate: 9.6 * KBIT, rounds: 40 },
  { name: 'delay 300 ms staleness 4', roundTripMs: 300, maxStaleness: 4 },
];
/** Run without a link for every number of workers and of directions, and estimator: what is left is computing. */
const NO_LINK = { rate: Number.POSITIVE_INFINITY, roundTripMs: 0, maxStaleness: 0, tls: false };

export async function benchBandwidth(options: BandwidthBenchOptions): Promise<BandwidthBench> {
  const { example, only = '', python, onRow } = options;
  const machine = describeMachine();
  const problem = options.loopback ? 'not asked for' : namespaceProblem();
  const shaped = problem === undefined;
  const notes = [
    shaped
      ? 'Links: a network namespace for every process, tc tbf at both ends of every line, and a proxy that adds the delay and the time that a message takes at the rate (tbf lets what is shorter than its bucket of one packet pass at once).'
      : `Links: a proxy on loopback makes rate and delay (network namespaces: ${problem}); no interface bytes.`,
    ...(python === undefined ? ['PyTorch DDP with gloo was left out: no --python that has torch.'] : []),
  ];
  const cells = CELLS.map((cell) => ({ ...CENTRE, ...cell })).filter(({ name }) => name.includes(only));
  const rows: BandwidthRow[] = [];
  const computing = new Map<string, number>();
  for (const cell of cells) {
    const { workers, directions, estimator } = cell;
    const key = `${workers} workers, ${estimator}, K = ${directions}`;
    if (!computing.has(key)) {
      const without = await measureRun(example, { ...cell, ...NO_LINK }, shaped);
      computing.set(key, without.roundMs);
      const row = rowOf({ ...cell, ...NO_LINK, name: `no link, ${key}` }, without);
      rows.push(row);
      onRow?.(rounded(row));
    }
    const row = rowOf(cell, await measureRun(example, cell, shaped), computing.get(key));
    rows.push(row);
    onRow?.(rounded(row));
  }
  const elements = elementsOf(example);
  const averaging: AveragingRow[] = [];
  const links = cells.filter(({ tls, directions, maxStaleness }) => !tls && directions === 8 && maxStaleness === 0);
  for (const { rate, roundTripMs, workers } of links) {
    const row = await measureAveraging({ rate, roundTripMs, workers, elements }, shaped, python);
    averaging.push(row);
    onRow?.(rounded(row));
  }
  return rounded({ rows, averaging, notes, elements, machine });
}

/** @param computingMs of a round without a link; undefined: this is it */
function rowOf(cell: RunCell & { name: string }, run: RunMeasurement, computingMs?: number): BandwidthRow {
  const { name, rate, roundTripMs, workers, directions, estimator, maxStaleness, tls } = cell;
  const { roundMs, gradientsPerSecond, gradientsPerRound, join, countedOverSeen } = run;
  const each = ({ up, down }: Way<number>): Way<number> => ({
    up: up / gradientsPerRound,
    down: down / gradientsPerRound / workers,
  });
  const { up, down } = run.socket;
  const lineMs = transmissionMs(withHeaders(up / workers) + withHeaders(down / workers), rate);
  return {
    name,
    ...(Number.isFinite(rate) && { rate }),
    ...{ roundTripMs, workers, directions, estimator, maxStaleness, tls, roundMs, gradientsPerSecond, join },
    payload: run.payload,
    socket: each(run.socket),
    ...(run.interface && { interface: each(run.interface) }),
    ...(countedOverSeen && { countedOverSeen }),
    ...(computingMs !== undefined && { communication: Math.max(0, 1 - computingMs / roundMs) }),
    // With staleness rounds overlap: nothing is one after the other.
    ...(computingMs !== undefined && maxStaleness === 0 && { expectedRoundMs: computingMs + roundTripMs + lineMs }),
  };
}

function elementsOf(example: string): number {
  return adapterLayout(newAdapter(openBaseModel(join(example, 'model'))).modules).elements;
}
