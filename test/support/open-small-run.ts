/** The run directory of a small run, opened as a trainer does. */
import { referenceBackend } from '../../kernels/reference.ts';
import { type OpenRun, openRun } from '../../trainer/store/open-run.ts';
import { smallRunConfig } from './small-run.ts';

export const openSmallRun = (directory: string, resume = true, config = smallRunConfig()): Promise<OpenRun> =>
  openRun(directory, config, Buffer.alloc(0), resume, referenceBackend, () => {}, new AbortController().signal);

export async function close({ log, lock }: OpenRun): Promise<void> {
  await log.close();
  lock.release();
}
