/** Starts a container: a process in namespaces of its own, over an overlay of its image's root, with the rights it asks for. */
import { spawn } from 'node:child_process';
import { chmodSync, closeSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expand } from './content.mjs';

const quote = (text) => `'${String(text).replaceAll("'", `'\\''`)}'`;

/** @returns the child process (the outer one: the container's process 1 is its child) */
export function startContainer({ pod, container, image, env, volumes, logFile, network }) {
  const directory = join(pod.directory, container.name);
  mkdirSync(join(directory, 'mount'), { recursive: true });
  const script = join(directory, 'start.sh');
  const lines = [...rootLines(pod, directory), ...mountLines(container, image, env, volumes)];
  if (container.securityContext?.readOnlyRootFilesystem) lines.push('mount -o remount,ro "$R"');
  writeFileSync(script, `${[...lines, startLine(pod, container, image, env)].join('\n')}\n`, { mode: 0o700 });
  const output = openSync(logFile, 'a');
  const isolated = [
    'unshare',
    '--mount',
    '--propagation',
    'private',
    '--pid',
    '--uts',
    '--ipc',
    '--fork',
    '--kill-child',
  ];
  const child = spawn('nsenter', [`--net=${network.namespace}`, ...isolated, 'bash', script], {
    stdio: ['ignore', output, output],
    cwd: '/',
    detached: true,
    env: { ...process.env, LC_ALL: 'C' },
  });
  closeSync(output);
  return child;
}

/** An overlay of this machine's root in $R, with proc, devices, /tmp and the pod's hosts file. */
function rootLines(pod, directory) {
  const termination = join(directory, 'termination');
  writeFileSync(termination, '');
  chmodSync(termination, 0o666);
  return [
    'set -e',
    `hostname ${quote(pod.hostname)}`,
    `t=${quote(join(directory, 'mount'))}; R=$t/root`,
    'mount -t tmpfs -o mode=711 none "$t"',
    'mkdir -m 755 "$t/upper"; mkdir "$t/work" "$R"',
    'mount -t overlay overlay -o "lowerdir=/,upperdir=$t/upper,workdir=$t/work" "$R"',
    'mkdir -p "$R/proc" "$R/dev" "$R/etc" "$R/sys" "$R/tmp"',
    'mount -t proc proc "$R/proc"',
    'mount -t tmpfs -o mode=755 none "$R/dev"',
    'for d in null zero full random urandom; do touch "$R/dev/$d"; mount --bind /dev/$d "$R/dev/$d"; done',
    'ln -s /proc/self/fd "$R/dev/fd"; mkdir -m 1777 "$R/dev/shm"',
    'mount -t tmpfs -o mode=1777 none "$R/tmp"',
    ...bindLines(join(pod.directory, 'hosts'), '/etc/hosts', false),
    ...bindLines(termination, '/dev/termination-log', false),
  ];
}

/** What the image holds, then the volumes, each at its place. */
function mountLines(container, image, env, volumes) {
  const lines = Object.entries(image.mounts ?? {}).flatMap(([place, source]) => bindLines(source, place, true));
  for (const { name, mountPath, readOnly, subPath, subPathExpr } of container.volumeMounts ?? []) {
    const volume = volumes[name];
    const source = join(volume.path, subPathExpr === undefined ? (subPath ?? '') : expand(subPathExpr, env));
    lines.push(...bindLines(source, mountPath, readOnly || volume.readOnly));
  }
  return lines;
}

function bindLines(source, place, readOnly) {
  const make = statSync(source).isFile() ? 'touch "$d"' : 'mkdir -p "$d"';
  const bind = `mount --bind ${quote(source)} "$d"`;
  const lock = readOnly ? ['mount -o remount,ro,bind "$d"'] : [];
  return [`d="$R"${quote(place)}; mkdir -p "$(dirname "$d")"; ${make}`, bind, ...lock];
}

/** Becomes the container's program, as its user, without the rights that it gives up. */
function startLine({ object }, container, image, env) {
  const { spec } = object;
  const security = { ...spec.securityContext, ...container.securityContext };
  const user = security.runAsUser ?? image.user ?? 0;
  if (security.runAsNonRoot && user === 0) throw new Error('container has runAsNonRoot and image will run as root');
  const argv = [...(container.command ?? image.entrypoint), ...(container.args ?? [])].map((part) => expand(part, env));
  const rights = [
    `--reuid=${user} --regid=${security.runAsGroup ?? 0}`,
    spec.securityContext?.fsGroup === undefined ? '--clear-groups' : `--groups=${spec.securityContext.fsGroup}`,
    '--inh-caps=-all',
    security.capabilities?.drop?.includes('ALL') ? '--bounding-set=-all' : '',
    security.allowPrivilegeEscalation === false ? '--no-new-privs' : '',
  ];
  const variables = Object.entries(env).map(([name, value]) => quote(`${name}=${value}`));
  const enter = `unshare --root="$R" --wd=${quote(container.workingDir ?? image.workingDir ?? '/')}`;
  return `exec env -i ${variables.join(' ')} ${enter} setpriv ${rights.join(' ')} ${argv.map(quote).join(' ')}`;
}

/** The process id, on this machine, of the container's process 1; undefined before it is there and after its end. */
export function processOne({ pid }) {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return children === '' ? undefined : Number(children.split(' ')[0]);
  } catch {
    return undefined;
  }
}
