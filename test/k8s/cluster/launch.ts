/** One run in a cluster, from `onebyte k8s render` on, and what can be seen of it with kubectl. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { runOnebyte, tinyReviews } from '../../support/onebyte.ts';
import { type Cluster, eventually, here } from './cluster.ts';

// biome-ignore lint/suspicious/noExplicitAny: pods and Jobs as the API server describes them
type Loose = any;

export class Launch {
  readonly name: string;
  private readonly cluster: Cluster;
  /** Where the volume for run directories lies on this machine. */
  readonly volume: string;

  constructor(cluster: Cluster, name: string) {
    this.name = name;
    this.cluster = cluster;
    this.volume = join(cluster.state, 'volumes', name);
  }

  /** Renders a run like the tiny example and applies it, with its Secrets and a volume. */
  async start(rounds: number, workers: number, change: (yaml: string) => string = (yaml) => yaml): Promise<void> {
    const run = join(this.cluster.state, `${this.name}.yaml`);
    const trainer = { startWorkers: workers, evaluateEvery: 0, checkpointEvery: 20 };
    const data = { train: join(tinyReviews, 'train.jsonl'), dev: join(tinyReviews, 'dev.jsonl'), maxLength: 128 };
    writeFileSync(
      run,
      stringify({ model: join(tinyReviews, 'model'), seed: 1, rounds, data: { ...data, shards: 4 }, trainer }),
    );
    const where = ['--name', this.name, '--namespace', this.name];
    const small = ['--storage-class', 'local', '--cpu', '500m', '--memory', '1Gi', '--workers', String(workers)];
    const rendered = await runOnebyte('k8s', 'render', run, ...where, ...small);
    const secrets = await runOnebyte('k8s', 'secrets', ...where);
    if (rendered.code !== 0) throw new Error(rendered.stderr);
    await this.cluster.pipe(stringify(persistentVolume(this.name, this.volume)), 'apply', '-f', '-');
    const output = await this.cluster.pipe(change(rendered.stdout), 'apply', '--validate=strict', '-f', '-');
    if (/warning/i.test(output)) throw new Error(output);
    await this.cluster.pipe(secrets.stdout, 'create', '-f', '-');
  }

  kubectl(...args: string[]): Promise<string> {
    return this.cluster.kubectl('-n', this.name, ...args);
  }

  job(component: 'trainer' | 'worker'): Promise<Loose> {
    return this.cluster.get('-n', this.name, 'job', `${this.name}-${component}`);
  }

  /** Waits until the Job has the condition. */
  async ends(component: 'trainer' | 'worker', condition: 'Complete' | 'Failed', seconds: number): Promise<Loose> {
    const awaited = `the ${component} Job of ${this.name} is ${condition}`;
    return eventually(awaited, seconds, async () => {
      const { conditions = [] } = (await this.job(component)).status;
      return conditions.find(({ type, status }: Loose) => type === condition && status === 'True');
    });
  }

  /** Pods that run and are not being deleted. */
  async pods(component: 'trainer' | 'worker'): Promise<Loose[]> {
    const labels = `app.kubernetes.io/component=${component}`;
    const { items } = await this.cluster.get('-n', this.name, 'pod', '-l', labels);
    return items.filter(({ status, metadata }: Loose) => status.phase === 'Running' && !metadata.deletionTimestamp);
  }

  /** The ready pod of worker `index`, another one than `not`. */
  worker(index: number, not?: string): Promise<Loose> {
    return eventually(`worker ${index} of ${this.name} is ready`, 60, async () =>
      (await this.pods('worker')).find(
        (pod) => indexOf(pod) === index && pod.metadata.name !== not && conditionOf(pod, 'Ready') === 'True',
      ),
    );
  }

  trainer(not?: string): Promise<Loose> {
    return eventually(`the trainer of ${this.name} is ready`, 60, async () =>
      (await this.pods('trainer')).find((pod) => pod.metadata.name !== not && conditionOf(pod, 'Ready') === 'True'),
    );
  }

  /** Lines of a pod's log, parsed. */
  async log(pod: string): Promise<Loose[]> {
    const text = await this.kubectl('logs', pod);
    return text.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []));
  }

  /** The last round that the trainer's pod has told of; it tells of every tenth. */
  async round(): Promise<Loose> {
    const { metadata } = await this.trainer();
    return (await this.log(metadata.name)).findLast(({ kind }) => kind === 'round') ?? { round: 0, members: 0 };
  }

  /** Waits for a round after `after` of at least `members` workers and at most `most`. */
  rounds(after: number, members: number, most = members): Promise<Loose> {
    return eventually(`${this.name} does rounds of ${members} workers after ${after}`, 90, async () => {
      const last = await this.round();
      return last.round > after && last.members >= members && last.members <= most ? last : undefined;
    });
  }

  /** Asks for an eviction. @returns undefined, or the reason of its refusal */
  async evict(pod: string): Promise<string | undefined> {
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: pod, namespace: this.name } };
    const path = `/api/v1/namespaces/${this.name}/pods/${pod}/eviction`;
    try {
      await this.cluster.pipe(JSON.stringify(eviction), 'create', '--raw', path, '-f', '-');
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  }

  /** Patches completions and parallelism of the workers together. */
  async scale(workers: number): Promise<void> {
    const patch = { spec: { completions: workers, parallelism: workers } };
    await this.kubectl('patch', 'job', `${this.name}-worker`, '--type=merge', '-p', JSON.stringify(patch));
  }

  /** What a probe of the kubelet gets: asked by a gRPC client in the pods' network. */
  probe(pod: Loose, service: string): Promise<string> {
    const client = join(here, 'probe.ts');
    const address = `${pod.status.podIP}:50052`;
    return this.cluster.inPodNetwork(process.execPath, '--import', 'tsx', client, address, service);
  }

  /** The result that the last trainer pod ended with. */
  async result(): Promise<Loose> {
    const labels = 'app.kubernetes.io/component=trainer';
    const { items } = await this.cluster.get('-n', this.name, 'pod', '-l', labels);
    const done = items.find(({ status }: Loose) => status.phase === 'Succeeded');
    return (await this.log(done.metadata.name)).find(({ adapterDigest }) => adapterDigest);
  }

  file(...path: string[]): Buffer {
    return readFileSync(join(this.volume, this.name, ...path));
  }
}

export const indexOf = ({ metadata }: Loose): number =>
  Number(metadata.annotations['batch.kubernetes.io/job-completion-index']);

export const conditionOf = ({ status }: Loose, wanted: string): string | undefined =>
  status.conditions?.find(({ type }: Loose) => type === wanted)?.status;

const persistentVolume = (name: string, path: string): object => ({
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: { name },
  spec: {
    capacity: { storage: '1Gi' },
    accessModes: ['ReadWriteOnce'],
    storageClassName: 'local',
    hostPath: { path },
    claimRef: { namespace: name, name: `${name}-runs` },
  },
});
