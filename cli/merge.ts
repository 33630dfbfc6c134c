/** `onebyte merge`: folds an adapter into its base model. */

import { Command } from 'commander';
import { openBaseModel } from '../model/base-model.ts';
import { mergeAdapter } from '../model/merge.ts';
import { EXIT, type ExitCode } from '../proto/operating-error.ts';
import { ADAPTER_HELP, adapterDirectory } from './adapter-directory.ts';
import { printJson, runCommand, toStderr } from './command.ts';
import { findModel } from './find-model.ts';

interface Flags {
  readonly model: string;
  readonly adapter: string;
  readonly out: string;
  readonly json?: boolean;
}

export const mergeCommand = new Command('merge')
  .description('fold an adapter into its base model: a Hugging Face directory in the dtypes of the base')
  .requiredOption('--model <dir>', 'model directory or org/name')
  .requiredOption('--adapter <dir>', ADAPTER_HELP)
  .requiredOption('--out <dir>', 'new directory')
  .option('--json', 'end with one line of JSON on stdout')
  .addHelpText(
    'after',
    '\nExample:\n  onebyte merge --model ./model --adapter runs/first/checkpoints/best --out merged\n',
  )
  .action((flags: Flags) => runCommand(() => merge(flags)));

async function merge({ model, adapter, out, json }: Flags): Promise<ExitCode> {
  const { merged, leftOut } = mergeAdapter(
    openBaseModel(await findModel(model, toStderr)),
    await adapterDirectory(adapter),
    out,
  );
  if (json) printJson({ out, merged, leftOut });
  else {
    if (leftOut.length > 0) process.stdout.write(`left out: ${leftOut.join(', ')}\n`);
    process.stdout.write(`${merged} weights merged into ${out}\n`);
  }
  return EXIT.done;
}
