/** `--threads` of whatever runs a model. */
import { InvalidArgumentError } from 'commander';
import { WorkerSettings } from '../settings/worker-settings.ts';

/** Parses a number of threads, by the rule of `worker.threads`. */
export function threadCount(value: string): number {
  const { data, error } = WorkerSettings.shape.threads.unwrap().safeParse(value === '' ? undefined : Number(value));
  if (data === undefined) throw new InvalidArgumentError(`${error?.issues[0]?.message}.`);
  return data;
}
