/** `onebyte status`: how a running trainer stands, over gRPC. */
import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { splitAddress } from '../platform/address.ts';
import { figuresText, lossText } from '../proto/evaluation.ts';
import type { GetStatusResponse, MemberStatus } from '../proto/gen/onebyte.ts';
import { EXIT, type ExitCode, OperatingError } from '../proto/operating-error.ts';
import { proxyNotice } from '../worker/transport/proxy.ts';
import { ConnectionLost, connectTrainer } from '../worker/transport/trainer-client.ts';
import { clientAccess } from './client-access.ts';
import { drainOnSignal, printJson, runCommand, toStderr } from './command.ts';
import { bytes, columns, duration, ROW_LOSS } from './format.ts';
import { type TlsFlags, withTlsFlags } from './tls-flags.ts';

/** Time between two looks of --watch, ms. */
const WATCH_MS = 1000;

interface Flags extends TlsFlags {
  readonly json?: boolean;
  readonly watch?: boolean;
}

export const statusCommand = withTlsFlags(
  new Command('status')
    .description('round, pace, last evaluation and workers of a running trainer')
    .argument('<host:port>', 'address of the trainer')
    .option('--json', 'one line of JSON on stdout; with --watch, one a second')
    .option(
      '--watch',
      'again every second, until the trainer is gone (exit code 4, or 0 where it said before that the run has ended) or Ctrl-C',
    ),
)
  .addHelpText('after', `\n${ROW_LOSS}\n\nExample:\n  onebyte status 10.0.0.5:50051 --tls-ca ca.pem --watch\n`)
  .action((address: string, flags: Flags) => runCommand(() => showStatus(address, flags)));

async function showStatus(address: string, flags: Flags): Promise<ExitCode> {
  const { signal } = drainOnSignal();
  const proxy = proxyNotice(address);
  if (proxy !== undefined) toStderr(proxy);
  const trainer = connectTrainer(address, clientAccess(splitAddress(address).host, flags));
  let last: GetStatusResponse | undefined;
  try {
    for (;;) {
      const status = await trainer.status();
      last = status;
      if (flags.json) printJson(status);
      else process.stdout.write(`${flags.watch && process.stdout.isTTY ? '\x1b[2J\x1b[H' : ''}${statusTable(status)}`);
      if (!flags.watch || status.state === 'ended' || !(await waited(WATCH_MS, signal))) return EXIT.done;
    }
  } catch (error) {
    if (error instanceof ConnectionLost)
      throw new OperatingError(EXIT.trainerUnreachable, goneText(address, last) ?? error.message);
    throw error;
  } finally {
    trainer.close();
  }
}

/** Of a trainer that has answered: most that are gone have ended since the last look. */
const goneText = (address: string, last: GetStatusResponse | undefined): string | undefined =>
  last &&
  `the trainer at ${address} answers no longer: it ended, or cannot be reached, after round ${last.round} of ${last.rounds}. Its log says how it ended`;

/** True after `ms`; false at once when `signal` aborts. */
const waited = (ms: number, signal: AbortSignal): Promise<boolean> => delay(ms, true, { signal }).catch(() => false);

/** What a person reads. Workers that need attention come first. */
function statusTable(status: GetStatusResponse): string {
  const { round, rounds, state, text, roundsPerSecond, secondsLeft, gradients, wireUp, wireDown } = status;
  const { trainingLoss, evaluation } = status;
  const pace = roundsPerSecond > 0 ? `, ${roundsPerSecond.toFixed(1)} rounds/s` : '';
  const left = secondsLeft === undefined ? '' : `, ${duration(secondsLeft)} left`;
  const lines = [
    `round ${round} of ${rounds}${pace}${left}: ${state}${text === '' ? '' : ` (${text})`}`,
    `${gradients} gradients; ${bytes(wireUp)} received, ${bytes(wireDown)} sent`,
  ];
  if (trainingLoss) {
    const { perRow: loss, perToken: lossPerToken } = trainingLoss;
    lines.push(`training loss ${lossText({ loss, lossPerToken }, 4)}`);
  }
  if (evaluation) {
    const { round: at, loss, lossPerToken, accuracy } = evaluation;
    lines.push(`dev loss ${figuresText({ loss, lossPerToken, accuracy }, 4)} at round ${at}`);
  }
  const order = ['disconnected', 'joining', 'active'];
  const members = [...status.members].sort(
    (a, b) => order.indexOf(a.state) - order.indexOf(b.state) || a.worker - b.worker,
  );
  return `${[...lines, '', ...columns([HEAD, ...members.map(cells)])].join('\n')}\n`;
}

const HEAD = [
  'worker',
  'name',
  'state',
  'round trip',
  'gradients',
  'clipped',
  'late',
  'missed',
  'shard',
  'computes on',
  'privacy',
  'last digest',
];

const cells = ({
  worker,
  name,
  state,
  answerMs,
  gradients,
  clipped,
  late,
  missed,
  shard,
  computesOn,
  privacy,
  digest,
}: MemberStatus): string[] => [
  `${worker}`,
  name,
  state,
  answerMs === undefined ? '-' : `${Math.round(answerMs)} ms`,
  `${gradients}`,
  gradients === 0 ? '-' : `${Math.round((100 * clipped) / gradients)} %`,
  `${late}`,
  `${missed}`,
  `${shard}`,
  computesOn ?? '-',
  privacy === undefined
    ? '-'
    : `ε ${privacy.spent.toFixed(2)} of ${privacy.epsilon}${privacy.exhausted ? ', spent' : ''}`,
  digest === undefined ? '-' : `${digest.sha256.slice(0, 8)} at ${digest.round}${digest.agrees ? '' : ' DIFFERS'}`,
];
