/** Which worker number to ask for: a flag's, or the one that what started this process wrote into its environment. */
import { usageError } from '../proto/operating-error.ts';

/** An Indexed Job of Kubernetes, torchrun's workers, and Kubeflow's PyTorch pods; the first that is set counts. */
const VARIABLES = ['JOB_COMPLETION_INDEX', 'RANK', 'PET_NODE_RANK'] as const;

export interface WorkerNumber {
  readonly number: number;
  /** `--number` or the name of the environment variable. */
  readonly source: string;
}

/** @throws OperatingError usage: a variable that is set and no whole number */
export function workerNumber(flag: number | undefined, env: NodeJS.ProcessEnv): WorkerNumber | undefined {
  if (flag !== undefined) return { number: flag, source: '--number' };
  for (const source of VARIABLES) {
    const text = env[source];
    if (text === undefined || text === '') continue;
    const number = Number(text);
    if (!/^\d+$/.test(text) || number > 0xffff_ffff)
      throw usageError(`${source}=${JSON.stringify(text)}: expected a worker number, 0…4294967295`);
    return { number, source };
  }
  return undefined;
}
