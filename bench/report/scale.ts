/** What a round costs as workers are added: fitted to `bench protocol` as far as that was measured, derived beyond. */
import { MAX_GRADIENTS_PER_RECORD } from '../../proto/limits.ts';
import type { ProtocolRow } from '../protocol.ts';
import { byteCount, duration, short } from './format.ts';
import type { Results } from './results.ts';
import type { Table } from './table.ts';

/** SmolLM2-135M, rank 8, all linear layers. */
const ELEMENTS = 2_442_240;
/** Sign-additions per second of one thread, and seconds to touch an element of θ once: docs/benchmarks.md, laboratory. */
const APPLIED_PER_SECOND = 17e9;
const TOUCH_SECONDS = 1.2e-9;
const STRIPES = 64;
/** bit/s of the trainer's line. */
const LINE = 1e9;
/** Workers, or further relays, of one relay. */
const FAN_OUT = 256;

export interface RoundCost {
  readonly workers: number;
  /** That fit into the record. */
  readonly gradients: number;
  /** Socket bytes that every worker receives. */
  readonly recordBytes: number;
  readonly trainerSends: number;
  readonly trainerCpuMs: number;
  readonly applyMs: { readonly plain: number; readonly striped: number };
  /** Layers of relays below the trainer, and what it sends then. */
  readonly relays: { readonly layers: number; readonly trainerSends: number };
}

/** @param measured at least two numbers of workers whose gradients all fit into a record @param directions K */
export function roundCost(measured: readonly ProtocolRow[], directions: number, workers: number): RoundCost {
  const counted = Math.min(workers, Math.floor(MAX_GRADIENTS_PER_RECORD / directions));
  const gradients = counted * directions;
  const recordBytes = line(measured, ({ bytesDown }) => bytesDown)(counted);
  const touching = ELEMENTS * TOUCH_SECONDS;
  const applyMs = (stripes: number): number =>
    1000 * ((gradients * ELEMENTS) / stripes / APPLIED_PER_SECOND + (stripes > 1 ? touching : 0));
  const layers = Math.max(0, Math.ceil(Math.log(workers) / Math.log(FAN_OUT) - 1e-9) - 1);
  return {
    workers,
    gradients,
    recordBytes,
    trainerSends: workers * recordBytes,
    trainerCpuMs: line(measured, ({ trainerCpuMs }) => trainerCpuMs)(workers),
    applyMs: { plain: applyMs(1), striped: applyMs(STRIPES) },
    relays: { layers, trainerSends: Math.min(workers, FAN_OUT) * recordBytes },
  };
}

/** The straight line through the smallest and the largest number of workers. */
function line(rows: readonly ProtocolRow[], of: (row: ProtocolRow) => number): (workers: number) => number {
  const sorted = [...rows].sort((a, b) => a.workers - b.workers);
  const [first, last] = [sorted[0]!, sorted.at(-1)!];
  const slope = (of(last) - of(first)) / (last.workers - first.workers);
  return (workers) => of(first) + slope * (workers - first.workers);
}

export function scaleTable({ protocol }: Results): Table {
  const rows = protocol?.rows ?? [];
  const directions = protocol?.settings.directions ?? 8;
  const largest = Math.max(...rows.map(({ workers }) => workers));
  const enough = new Set(rows.map(({ workers }) => workers)).size > 1;
  const costs = enough ? [10, 100, 1000, 1e4, 1e5].map((workers) => roundCost(rows, directions, workers)) : [];
  const onLine = (bytes: number): string => `${byteCount(bytes)}, ${duration((8000 * bytes) / LINE)}`;
  return {
    name: 'scale',
    caption: `One round, K = ${directions}`,
    head: [
      ...['workers', 'gradients in the record', 'record, to each worker', 'trainer sends, at 1 Gbit/s', 'trainer CPU'],
      ...['applying it', `with ${STRIPES} stripes`, 'layers of relays', 'trainer sends then'],
    ],
    rows: costs.map((cost) => [
      `${short(cost.workers)}${cost.workers > largest ? ' (derived)' : ''}`,
      short(cost.gradients),
      byteCount(cost.recordBytes),
      onLine(cost.trainerSends),
      duration(cost.trainerCpuMs),
      duration(cost.applyMs.plain),
      duration(cost.applyMs.striped),
      String(cost.relays.layers),
      onLine(cost.relays.trainerSends),
    ]),
    notes: [
      `Bytes and trainer CPU: the straight line through the smallest and largest number of workers that were measured. Applying: SmolLM2-135M (${short(ELEMENTS / 1e6)} M elements) on one thread, at the ${short(APPLIED_PER_SECOND / 1e9)} G sign-additions per second of docs/benchmarks.md. Relays: ${FAN_OUT} connections each, derived.`,
    ],
    command: 'onebyte bench protocol --workers 10 100 300 1000 --json > bench/results/protocol.json',
    ...(protocol && enough && { from: protocol }),
  };
}
