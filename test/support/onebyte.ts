/** Runs the `onebyte` command as a user would: a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { ownModule } from '../../platform/own-module.ts';
import { packageRoot } from '../../platform/own-package.ts';

export const root = packageRoot();
/** Figures and files made by others' code. */
export const goldenFiles = join(root, 'test/golden');
/** Names of the models in a folder of them. */
export const goldenModels = (folder: 'models' | 'variations' = 'models'): string[] =>
  readdirSync(join(goldenFiles, folder), { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? [e.name] : []));
export const tinyReviews = join(root, 'examples/tiny-reviews');
export const runFile = join(tinyReviews, 'run.yaml');
export const bin = join(root, 'bin/onebyte.js');
/** In place of `bin`: processes that kill themselves where ONEBYTE_CRASHES says so (crash-points.ts). */
export const crashing = fileURLToPath(ownModule(new URL('./crashing-onebyte', import.meta.url)).url);

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly process: ChildProcess;
  readonly finished: Promise<Finished>;
  /** Resolves with the first line of stderr that `pattern` matches. Rejects when the process ends without one. */
  line(pattern: RegExp): Promise<RegExpExecArray>;
}

/**
 * Starts `onebyte <args>` in `cwd`; logs are JSON lines on stderr. `script`: run in place of bin/onebyte.js. `limit`: what a shell does
 * before, such as `ulimit`.
 */
export function startOnebyte(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  script = bin,
  cwd: string = root,
  limit?: string,
): Running {
  const shell = limit === undefined ? [] : ['bash', '-c', `${limit}; exec "$@"`, 'bash'];
  const [program, ...rest] = [...shell, process.execPath, script, ...args];
  const child = spawn(program!, rest, {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ONEBYTE_LOG_FORMAT: 'json', ...env },
  });
  let stderr = '';
  const watchers = new Set<() => void>();
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
    for (const watch of watchers) watch();
  });
  const stdout = text(child.stdout);
  const finished = new Promise<Finished>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => stdout.then((out) => resolve({ code, stdout: out, stderr }), reject));
  });
  const line = (pattern: RegExp): Promise<RegExpExecArray> =>
    new Promise((resolve, reject) => {
      const watch = (): void => {
        const match = pattern.exec(stderr);
        if (!match) return;
        watchers.delete(watch);
        resolve(match);
      };
      watchers.add(watch);
      watch();
      finished.then(() => reject(new Error(`ended without a line that matches ${pattern}:\n${stderr}`)), reject);
    });
  return { process: child, finished, line };
}

/** Runs `onebyte <args>` to its end. */
export const runOnebyte = (...args: string[]): Promise<Finished> => startOnebyte(args).finished;

/** The JSON object on the last line of stdout. */
export function lastJson({ stdout, stderr, code }: Finished) {
  const line = stdout.trimEnd().split('\n').at(-1) ?? '';
  try {
    return JSON.parse(line);
  } catch {
    throw new Error(`no JSON on the last line of stdout (exit code ${code}):\n${stdout}\n${stderr}`);
  }
}

/** Process ids of the children of a process (Linux). */
export const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);

/** Of all processes of this machine (Linux). */
export const processIds = (): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);

/** The arguments of a process, apart by NUL; empty where it is gone (Linux). */
export const commandLine = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
};

/** Where a trainer that was started says that it listens. */
export const addressOf = async (trainer: Running): Promise<string> => (await trainer.line(/"address":"([^"]+)"/))[1]!;
