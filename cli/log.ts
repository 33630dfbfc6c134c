/** Logs: JSON lines on stderr for machines, plain lines on a terminal. Results never go here. */
import { type Logger, pino } from 'pino';
import pretty from 'pino-pretty';

export type Log = Logger;

/** The process's log, bound to `bindings` (run, worker). LOG_LEVEL and ONEBYTE_LOG_FORMAT=json|text override the defaults. */
export function createLog(bindings: { readonly [key: string]: unknown }): Log {
  const { LOG_LEVEL = 'info', ONEBYTE_LOG_FORMAT } = process.env;
  const text = ONEBYTE_LOG_FORMAT === undefined ? process.stderr.isTTY : ONEBYTE_LOG_FORMAT === 'text';
  const options = { level: LOG_LEVEL, base: undefined, timestamp: pino.stdTimeFunctions.isoTime };
  const stream = text
    ? pretty({ destination: 2, sync: true, ignore: 'role,pid,hostname', hideObject: true, translateTime: 'HH:MM:ss' })
    : pino.destination({ dest: 2, sync: true });
  return pino(options, stream).child(bindings);
}
