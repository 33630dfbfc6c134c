/** What ran in a forward pass, and where, by ONNX Runtime's own profile. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Provider } from './provider.ts';

export interface OperatorCount {
  readonly op: string;
  /** Nodes of the graphs that ran, however often. */
  readonly count: number;
}

/** Operators of a forward pass by where they ran; `off` are those that the provider did not run, but for what computes shapes. */
export interface PassProfile {
  readonly on: readonly OperatorCount[];
  readonly off: readonly OperatorCount[];
}

/** As ONNX Runtime spells them. */
const NAMES: Readonly<Record<Provider, string>> = {
  cpu: 'CPUExecutionProvider',
  webgpu: 'WebGpuExecutionProvider',
  cuda: 'CUDAExecutionProvider',
};

/** An event of a profile (Chrome's trace format), as far as it is read. */
interface ProfileEvent {
  readonly cat: string;
  readonly name: string;
  readonly args: {
    readonly op_name?: string;
    readonly provider?: string;
    /** One `{ element type: shape }` for each output. */
    readonly output_type_shape?: readonly { readonly [type: string]: readonly number[] }[];
  };
}

/**
 * Whether a node computes a shape: a few int64 numbers, that the one who launches a kernel needs in host memory. ONNX Runtime's
 * own optimizer puts such nodes on the CPU, whatever the provider; no tensor crosses for them.
 */
const computesShape = (args: ProfileEvent['args']): boolean =>
  (args.output_type_shape ?? []).every(
    ({ int64 }) => int64 !== undefined && int64.length === 1 && int64[0]! <= MAX_RANK,
  );

/** Dimensions of a tensor, at most. */
const MAX_RANK = 8;

/** Profiles what `run` does: it makes its forward passes with the `profileDirectory` that it is given, and closes them. */
export async function profilePass(
  provider: Provider,
  run: (profileDirectory: string) => Promise<void>,
): Promise<PassProfile> {
  const directory = mkdtempSync(join(tmpdir(), 'onebyte-profile-'));
  try {
    await run(directory);
    const nodes = new Map<string, ProfileEvent['args'] & { op_name: string }>();
    for (const file of readdirSync(directory))
      for (const { cat, name, args } of JSON.parse(readFileSync(join(directory, file), 'utf8')) as ProfileEvent[])
        if (cat === 'Node' && args.op_name !== undefined && args.provider !== undefined)
          nodes.set(`${file} ${name}`, { ...args, op_name: args.op_name });
    const ran = [...nodes.values()];
    return {
      on: countsOf(ran.filter((node) => node.provider === NAMES[provider])),
      off: countsOf(ran.filter((node) => node.provider !== NAMES[provider] && !computesShape(node))),
    };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function countsOf(nodes: readonly { readonly op_name: string }[]): OperatorCount[] {
  const counts = new Map<string, number>();
  for (const { op_name } of nodes) counts.set(op_name, (counts.get(op_name) ?? 0) + 1);
  return [...counts].map(([op, count]) => ({ op, count })).sort((a, b) => b.count - a.count);
}
