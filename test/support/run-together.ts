/** Real runs of tiny-reviews by processes that each have settings of their own. */
import assert from 'node:assert/strict';
import { settingFlags } from '../../cli/command.ts';
import { addressOf, lastJson, runFile, startOnebyte } from './onebyte.ts';

/**
 * Runs a trainer with `shared`, and a worker with each of the settings in `own`, that all wait for each other.
 * @returns what the trainer says of the run; every worker ended it with the same replica
 */
export async function runTogether(out: string, shared: readonly string[], own: readonly (readonly string[])[]) {
  const flags = settingFlags([...shared, `trainer.startWorkers=${own.length}`, 'trainer.quorum=all']);
  const trainer = startOnebyte(['trainer', runFile, '--out', out, '--json', ...flags]);
  const address = await addressOf(trainer);
  const workers = own.map((settings, i) =>
    startOnebyte([
      ...['worker', runFile, '--trainer', address, '--number', String(i), '--threads', '1', '--json', ...flags],
      ...settingFlags(settings),
    ]),
  );
  const run = lastJson(await trainer.finished);
  for (const worker of workers) {
    const finished = await worker.finished;
    assert.equal(finished.code, 0, finished.stderr);
    assert.equal(lastJson(finished).replicaDigest, run.replicaDigest);
  }
  return run;
}
