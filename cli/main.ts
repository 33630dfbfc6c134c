/**
 * The `onebyte` command.
 *
 * The room cli/ reads flags and tells people: a file per command, and what only commands share. Nothing imports it.
 */
import { Command, type CommanderError } from 'commander';
import { ownPackage } from '../platform/own-package.ts';
import { EXIT, storeError } from '../proto/operating-error.ts';
import { sayError } from './command.ts';
import { COMMANDS } from './commands.ts';

/** Longest wait for what a command that has ended left open, ms: over a slow line its last words take a while. */
const LINGER_MS = 5_000;

/** Commander's own end: after --help, or of a command line that it does not understand. */
const exit = (error: CommanderError): never => process.exit(error.exitCode === 0 ? EXIT.done : EXIT.usage);

const program = new Command('onebyte')
  .description('Fine-tune LoRA adapters over slow networks: one byte per projected gradient, over gRPC')
  .version(ownPackage().version)
  .addHelpText(
    'after',
    `
Exit codes:
  0 done                       4 trainer unreachable
  1 internal error             5 durable store
  2 wrong config, model, data  6 diverged
  3 refused by the trainer     75 drained    130 interrupted`,
  )
  .exitOverride(exit);

const wanted = process.argv[2];
const loads = wanted !== undefined && Object.hasOwn(COMMANDS, wanted) ? [COMMANDS[wanted]!] : Object.values(COMMANDS);
for (const command of await Promise.all(loads.map((load) => load()))) {
  for (const each of [command, ...command.commands]) each.exitOverride(exit);
  program.addCommand(command);
}
// `| head` and the like: who reads no further needs no more.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(process.exitCode ?? EXIT.done);
  process.exit(sayError(storeError(`stdout: ${error.message}`)));
});
// What is told beside that may be lost: on a full disk, or where who read it is gone.
process.stderr.on('error', () => {});
await program.parseAsync();
// gRPC lets go of no connection that is still being made, to a proxy or a trainer that does not answer: it would keep this process.
// What was printed is written first, however slowly it is read.
setTimeout(() => process.stderr.write('', () => process.stdout.write('', () => process.exit())), LINGER_MS).unref();
