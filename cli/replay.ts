/** `onebyte replay`: the adapter at any round, from the round log alone. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { adapterDigest } from '../kernels/replica.ts';
import { selectBackend } from '../kernels/select-backend.ts';
import { usableCores } from '../platform/cores.ts';
import { EXIT, type ExitCode, usageError } from '../proto/operating-error.ts';
import { writePeftCheckpoint } from '../trainer/store/checkpoint.ts';
import { replayLog } from '../trainer/store/replay.ts';
import { readRoundLog } from '../trainer/store/round-log.ts';
import { printJson, runCommand, toStderr, wholeNumber } from './command.ts';

interface Flags {
  readonly log: string;
  readonly round?: number;
  readonly out?: string;
  readonly baseModel?: string;
  readonly json?: boolean;
}

export const replayCommand = new Command('replay')
  .description('rebuild the adapter after the first R records of a round log; the base model is not needed')
  .requiredOption('--log <file>', 'round log')
  .option('--round <R>', 'records to apply (default: all)', wholeNumber)
  .option('--out <dir>', 'write the adapter here, as a PEFT directory')
  .option('--base-model <name>', 'what adapter_config.json shall call the base model (default: nothing)')
  .option('--json', 'end with one line of JSON on stdout')
  .addHelpText('after', '\nExample:\n  onebyte replay --log runs/first/round.log --round 80 --out adapter-80\n')
  .action((flags: Flags) => runCommand(() => replay(flags)));

async function replay({ log, round, out, baseModel, json }: Flags): Promise<ExitCode> {
  if (out !== undefined && existsSync(out)) throw usageError(`--out ${out}: exists; name a new directory`);
  const contents = await readRoundLog(log);
  if (contents.tornBytes > 0)
    toStderr(`onebyte: ${log}: left out ${contents.tornBytes} bytes of a frame that was not written whole`);
  const { backend } = await selectBackend('auto', usableCores());
  try {
    const { config, replica, matrices } = await replayLog(contents, backend, round);
    if (out !== undefined)
      writePeftCheckpoint(resolve(out), {
        config: { ...config, adapter: { ...config.adapter, baseModel: baseModel ?? config.adapter.baseModel } },
        replica,
        matrices,
      });
    const result = { round: replica.normaliser.round, adapterDigest: adapterDigest(replica.theta), out };
    if (json) printJson(result);
    else
      process.stdout.write(
        `round ${result.round}: adapter ${result.adapterDigest}${out === undefined ? '' : ` in ${out}`}\n`,
      );
  } finally {
    await backend.close();
  }
  return EXIT.done;
}
