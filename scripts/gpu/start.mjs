// Processes that print lines of JSON.
import { execFile } from 'node:child_process';

const LIMIT_MS = 600_000;

/**
 * Starts a process. `result`: the lines of JSON that it printed, parsed, and where it failed the error, in a line: what it printed
 * before was measured all the same.
 */
export function start(file, args) {
  let child;
  const result = new Promise((resolve) => {
    child = execFile(file, args, { maxBuffer: 2 ** 26, timeout: LIMIT_MS }, (failure, stdout, stderr) => {
      const lines = stdout.split('\n').flatMap(parsed);
      if (failure === null) return resolve({ lines });
      const said = (stderr.trim() || failure.message).split('\n').at(-1);
      const how = failure.killed ? `ended after ${LIMIT_MS / 1000} s; ` : '';
      resolve({ lines, error: `${how}${said}`.slice(0, 300) });
    });
  });
  // A process that failed reads no more; its result says so.
  child.stdin?.on('error', () => {});
  return { stdin: child.stdin, result };
}

/** A line of JSON. A process that was killed may have written half of its last one. */
function parsed(line) {
  if (!line.startsWith('{')) return [];
  try {
    return [JSON.parse(line)];
  } catch {
    return [];
  }
}
