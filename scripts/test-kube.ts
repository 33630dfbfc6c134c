/**
 * Runs the end-to-end tests on a real Kubernetes control plane, which is built first where it is missing.
 * --build-within SECONDS gives the build up after that time; --or-skip makes what is missing no failure.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { kubeBinaries, kubectl } from '../test/support/kube.ts';
import { root } from '../test/support/onebyte.ts';

const NEEDED = ['unshare', 'nsenter', 'setpriv', 'ip', 'openssl'];

const { values } = parseArgs({ options: { 'build-within': { type: 'string' }, 'or-skip': { type: 'boolean' } } });

/** Why the tests cannot run here; undefined: they can. */
function obstacle(): string | undefined {
  if (process.platform !== 'linux') return 'they need Linux';
  if (process.getuid?.() !== 0) return 'they need root, for namespaces and mounts';
  const missing = NEEDED.filter((name) => spawnSync('which', [name]).status !== 0);
  if (missing.length > 0) return `these commands are missing: ${missing.join(', ')}`;
  return existsSync(kubectl) ? undefined : buildObstacle();
}

/** Builds the control plane. @returns why it could not be built */
function buildObstacle(): string | undefined {
  const go = process.env.GO ?? '/usr/local/go/bin/go';
  if (spawnSync('which', ['go']).status !== 0 && !existsSync(go)) return `${kubectl} is not built, and there is no Go`;
  const seconds = values['build-within'] ?? '7200';
  console.log(`building the control plane into ${kubeBinaries} (several minutes)`);
  const build = spawnSync('timeout', [seconds, join(root, 'test/k8s/control-plane/build.sh'), kubeBinaries], {
    stdio: 'inherit',
  });
  if (build.status === 124) return `the control plane was not built within ${seconds} s`;
  return build.status === 0 ? undefined : 'the control plane could not be built';
}

const reason = obstacle();
if (reason === undefined) {
  const args = ['--import', 'tsx', '--test', '--test-reporter=spec', join(root, 'test/k8s/cluster/run.kube.ts')];
  process.exitCode = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }).status ?? 1;
} else {
  console.error(
    `test:kube: the end-to-end tests on Kubernetes ${values['or-skip'] ? 'were skipped' : 'cannot run'}: ${reason}`,
  );
  process.exitCode = values['or-skip'] ? 0 : 1;
}
