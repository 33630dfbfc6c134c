/**
 * The network of a benchmark run: a trainer and workers, each worker on a line of its own. As root every process has a network
 * namespace, tc tbf holds each line to its rate in both directions, and the counters of the interfaces are read; else all is loopback.
 */
import { execFileSync } from 'node:child_process';

export interface Traffic {
  readonly bytes: number;
  readonly packets: number;
}

export interface Network {
  readonly trainerHost: string;
  /** The command that a process of this place runs under. */
  inside(place: 'trainer' | number): readonly string[];
  /** All lines together so far; up: from workers. Undefined on loopback. */
  traffic(): { readonly up: Traffic; readonly down: Traffic } | undefined;
  /** Where the other workers reach this one; undefined on loopback. */
  address(worker: number): string | undefined;
  close(): void;
}

const loopback: Network = {
  trainerHost: '127.0.0.1',
  inside: () => [],
  traffic: () => undefined,
  address: () => undefined,
  close: () => {},
};

/** Why no namespaces can be had here; undefined: they can. */
export function namespaceProblem(): string | undefined {
  try {
    namespaces(1, 1e6).close();
    return undefined;
  } catch (error) {
    return String((error as { stderr?: unknown }).stderr ?? (error as Error).message).trim();
  }
}

/** @param rate bit/s of every line, each way; Infinity: no limit */
export const createNetwork = (shaped: boolean, workers: number, rate: number): Network =>
  shaped ? namespaces(workers, rate) : loopback;

const TRAINER_HOST = '10.77.255.1';
/** A packet of 1,500 bytes and its Ethernet header: the smallest bucket that tbf can send it from. */
const BUCKET_BYTES = 1540;
const run = (command: 'ip' | 'tc', ...args: string[]): string =>
  execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });

function namespaces(workers: number, rate: number): Network {
  const name = (place: 'trainer' | number): string => `onebyte-${process.pid}-${place}`;
  const places = ['trainer' as const, ...Array.from({ length: workers }, (_, i) => i)];
  const interrupt = (): void => process.exit(130);
  const close = (): void => {
    process.off('exit', close).off('SIGINT', interrupt).off('SIGTERM', interrupt);
    for (const place of places)
      try {
        run('ip', 'netns', 'del', name(place));
      } catch {} // it was not made
  };
  process.once('exit', close).once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    for (const place of places) addNamespace(name(place));
    run('ip', '-n', name('trainer'), 'addr', 'add', `${TRAINER_HOST}/32`, 'dev', 'lo');
    run('ip', 'netns', 'exec', name('trainer'), 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    for (let i = 0; i < workers; i++) addLine(name('trainer'), name(i), i, rate);
  } catch (error) {
    close();
    throw error;
  }
  return {
    trainerHost: TRAINER_HOST,
    inside: (place) => ['ip', 'netns', 'exec', name(place)],
    traffic: () => trafficOf(name('trainer')),
    address: (worker) => addresses(worker).worker,
    close,
  };
}

function addNamespace(name: string): void {
  run('ip', 'netns', 'add', name);
  run('ip', 'netns', 'exec', name, 'sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');
  run('ip', '-n', name, 'link', 'set', 'lo', 'up');
}

const addresses = (i: number): { trainer: string; worker: string } => {
  const [net, low] = [`10.77.${i >> 6}`, (i & 63) << 2];
  return { trainer: `${net}.${low + 1}`, worker: `${net}.${low + 2}` };
};

/** Interface `line` in a worker's namespace, `line<i>` in the trainer's. Nothing but IP packets of full headers passes. */
function addLine(trainer: string, worker: string, i: number, rate: number): void {
  const ends = [
    { namespace: trainer, device: `line${i}`, mac: '02:00:00:00:00:01', address: addresses(i).trainer },
    { namespace: worker, device: 'line', mac: '02:00:00:00:00:02', address: addresses(i).worker },
  ] as const;
  const [near, far] = ends;
  run(
    'ip',
    ...['link', 'add', near.device, 'address', near.mac, 'netns', trainer, 'type', 'veth'],
    ...['peer', 'name', far.device, 'address', far.mac, 'netns', worker],
  );
  for (const [end, other] of [ends, [far, near]] as const) {
    const inside = ['-n', end.namespace];
    // One packet at a time: the counters would see a batch of packets as one, with one header.
    run('ip', ...inside, 'link', 'set', end.device, 'gso_max_segs', '1', 'up');
    run('ip', ...inside, 'addr', 'add', `${end.address}/30`, 'dev', end.device);
    run('ip', ...inside, 'neigh', 'add', other.address, 'lladdr', other.mac, 'dev', end.device, 'nud', 'permanent');
    if (Number.isFinite(rate))
      run(
        'tc',
        ...[...inside, 'qdisc', 'add', 'dev', end.device, 'root', 'tbf', 'rate', `${rate}bit`],
        ...['burst', String(Math.max(BUCKET_BYTES, Math.ceil(rate / 8 / 250))), 'latency', '60s'],
      );
  }
  run('ip', '-n', worker, 'route', 'add', 'default', 'via', near.address);
}

interface LinkStatistics {
  readonly ifname: string;
  readonly stats64: { readonly rx: Traffic; readonly tx: Traffic };
}

function trafficOf(trainer: string): { up: Traffic; down: Traffic } {
  const links = (JSON.parse(run('ip', '-n', trainer, '-s', '-j', 'link', 'show')) as LinkStatistics[]).filter(
    ({ ifname }) => ifname.startsWith('line'),
  );
  const sum = (way: 'rx' | 'tx'): Traffic => ({
    bytes: links.reduce((total, { stats64 }) => total + stats64[way].bytes, 0),
    packets: links.reduce((total, { stats64 }) => total + stats64[way].packets, 0),
  });
  return { up: sum('rx'), down: sum('tx') };
}
