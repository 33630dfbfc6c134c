/** A Kubernetes control plane for one test run, with a node whose pods are local processes on the staged image. */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { kubeBinaries, kubectl } from '../../support/kube.ts';
import { commandLine, processIds, root } from '../../support/onebyte.ts';

const run = promisify(execFile);

export interface Cluster {
  /** Folder of this cluster; removed at the end. */
  readonly state: string;
  /** Runs kubectl. @returns its stdout; rejects with stderr where it fails */
  kubectl(...args: string[]): Promise<string>;
  /** Runs kubectl with `input` on stdin. @returns stdout and stderr together */
  pipe(input: string, ...args: string[]): Promise<string>;
  /** The answer of `kubectl get … -o json`. */
  // biome-ignore lint/suspicious/noExplicitAny: objects of any kind
  get(...args: string[]): Promise<any>;
  /** Runs a program of this machine in the network of the pods. */
  inPodNetwork(...argv: string[]): Promise<string>;
  stop(): void;
}

/** Starts the control plane; takes about 10 s. */
export async function startCluster(): Promise<Cluster> {
  // Not below /tmp, which pods have for themselves.
  const state = mkdtempSync('/var/tmp/onebyte-kube-');
  const env = { ...process.env, KUBE_LOCAL_BIN: kubeBinaries, KUBE_LOCAL_IMAGES: stageImage(state) };
  const stop = (): void => {
    spawnSync(join(root, 'test/k8s/control-plane/down.sh'), [state, '--purge'], { stdio: 'ignore', timeout: 60_000 });
    rmSync(state, { recursive: true, force: true });
  };
  try {
    await run(join(root, 'test/k8s/control-plane/up.sh'), [state], { env, timeout: 180_000 });
  } catch (cause) {
    stop();
    throw new Error(`the control plane did not start: ${(cause as { stderr?: string }).stderr}`, { cause });
  }
  const config = ['--kubeconfig', join(state, 'admin.conf')];
  const call = async (...args: string[]): Promise<string> =>
    (await run(kubectl, [...config, ...args], { maxBuffer: 2 ** 26 })).stdout;
  const network = readFileSync(join(state, 'pids'), 'utf8').match(/^netns (\d+)/m)![1]!;
  return {
    state,
    kubectl: call,
    pipe: (input, ...args) => pipe(kubectl, [...config, ...args], input),
    get: async (...args) => JSON.parse(await call('get', ...args, '-o', 'json')),
    inPodNetwork: async (...argv) => (await run('nsenter', [`--net=/proc/${network}/ns/net`, ...argv])).stdout.trim(),
    stop,
  };
}

/** What the Containerfile's last stage holds, over this machine's root. @returns the kubelet's images file */
function stageImage(state: string): string {
  const app = join(state, 'image/app');
  mkdirSync(app, { recursive: true });
  const built = spawnSync('npm', ['run', '--silent', 'build'], { cwd: root });
  if (built.status !== 0) throw new Error(`npm run build: ${built.stdout}`);
  for (const part of ['bin', 'dist', 'package.json', 'examples'])
    cpSync(join(root, part), join(app, part), { recursive: true });
  const modules = '/app/node_modules';
  mkdirSync(join(state, 'image', modules));
  const images = join(state, 'images.json');
  const entrypoint = [process.execPath, '/app/bin/onebyte.js'];
  const mounts = { '/app': app, [modules]: join(root, 'node_modules') };
  const image = { rootfs: '/', mounts, user: 10001, env: {}, entrypoint, workingDir: '/app' };
  writeFileSync(images, JSON.stringify({ '*': image }));
  return images;
}

async function pipe(program: string, args: string[], input: string): Promise<string> {
  const child = spawn(program, args, { stdio: 'pipe' });
  const output = Promise.all([text(child.stdout), text(child.stderr)]);
  child.stdin.end(input);
  const code = await new Promise((resolve) => child.on('close', resolve));
  const all = (await output).join('');
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ${all}`);
  return all;
}

/** Resolves with the first answer of `ask` that is not undefined. Rejects after `seconds`, saying what was awaited. */
export async function eventually<Answer>(
  awaited: string,
  seconds: number,
  ask: () => Promise<Answer | undefined>,
): Promise<Answer> {
  const end = performance.now() + 1000 * seconds;
  let last: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) throw new Error(`waited ${seconds} s: ${awaited}`, { cause: last });
    await pause(300);
  }
}

/** Process ids of this machine whose arguments hold `argument` as a whole. */
export const processesWith = (argument: string): number[] =>
  processIds().filter((pid) => {
    const [program, ...args] = commandLine(pid).split('\0');
    return program === process.execPath && args.includes(argument);
  });

export const here = import.meta.dirname;
