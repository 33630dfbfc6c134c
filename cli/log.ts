/** Logs: JSON lines on stderr for machines, plain lines on a terminal. Results never go here. */
import { type DestinationStream, type Logger, pino } from 'pino';
import { prettyFactory } from 'pino-pretty';

export type Log = Logger;

/** Where in the run a process is; added to every line that does not say it itself. Its owner changes it as the run goes on. */
export interface Place {
  run?: string;
  worker?: number;
  round?: number;
}

/** Fields whose values never reach a log, at the top of a line and one level down. */
const SECRETS = ['joinToken', 'token', 'resumeSecret', 'secret', 'runSecret', 'authorization'];

/** The levels of pino. */
const LEVELS: readonly string[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/**
 * The process's log, bound to `bindings`. LOG_LEVEL (trace … fatal, silent) and ONEBYTE_LOG_FORMAT=json|text override the
 * defaults, info and: text on a terminal, JSON elsewhere.
 * @param destination where lines go instead of stderr
 */
export function createLog(
  bindings: { readonly [key: string]: unknown },
  place: Readonly<Place> = {},
  destination?: DestinationStream,
): Log {
  const { LOG_LEVEL = 'info', ONEBYTE_LOG_FORMAT } = process.env;
  const text = ONEBYTE_LOG_FORMAT === undefined ? process.stderr.isTTY : ONEBYTE_LOG_FORMAT === 'text';
  const options = {
    level: LEVELS.includes(LOG_LEVEL) ? LOG_LEVEL : 'info',
    base: undefined,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (level: string) => ({ level }) },
    redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
    mixin: () => ({ ...place }),
    // A line's own round is the right one.
    mixinMergeStrategy: (line: object, mixed: object) => ({ ...mixed, ...line }),
  };
  return pino(options, destination ?? stderr(text)).child(bindings);
}

/** Lines that cannot be written, on a full disk for one, are lost: the run goes on without them. */
function stderr(text: boolean): DestinationStream {
  const pretty = prettyFactory({ ignore: 'role,pid,hostname', hideObject: true, translateTime: 'HH:MM:ss' });
  // One that failed would keep all that it was given since.
  const open = () => pino.destination({ dest: 2, sync: true }).once('error', () => (opened = open()));
  let opened = open();
  return { write: (line) => opened.write(text ? pretty(line) : line) };
}
