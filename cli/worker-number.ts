/** Which worker number to ask for: a flag's, or the one that what started this process wrote into its environment. */
import { MAX_WORKERS } from '../proto/limits.ts';
import { usageError } from '../proto/operating-error.ts';

/** An Indexed Job of Kubernetes, torchrun's workers, and Kubeflow's PyTorch pods; the first that is set counts. */
const VARIABLES = ['JOB_COMPLETION_INDEX', 'RANK', 'PET_NODE_RANK'] as const;

export interface WorkerNumber {
  readonly number: number;
  /** `--number` or the name of the environment variable. */
  readonly source: string;
}

/** @throws OperatingError usage: a flag or a variable that is set and no worker number */
export function workerNumber(flag: number | undefined, env: NodeJS.ProcessEnv): WorkerNumber | undefined {
  const given = [['--number', flag?.toString()] as const, ...VARIABLES.map((name) => [name, env[name]] as const)];
  const [source, text] = given.find(([, value]) => value !== undefined && value !== '') ?? [];
  if (source === undefined || text === undefined) return undefined;
  const number = Number(text);
  if (!/^\d+$/.test(text) || number >= MAX_WORKERS)
    throw usageError(`${source}=${JSON.stringify(text)}: expected a worker number, 0…${MAX_WORKERS - 1}`);
  return { number, source };
}
