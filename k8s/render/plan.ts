/**
 * What is to be launched on Kubernetes: a run file and a few flags, checked, with the paths that the pods will see.
 *
 * The room k8s/ turns such a plan into objects of Kubernetes, and keeps those of the demo as a kustomize folder. It starts nothing, asks no
 * cluster, and knows of a run only what its run file says.
 */
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative } from 'node:path';
import { parseDocument } from 'yaml';
import { ownPackage, packageRoot } from '../../platform/own-package.ts';
import { usageError } from '../../proto/operating-error.ts';
import { checkBudget, MOST_WORKERS, readRunFile, settled, trainFiles } from '../../settings/run-file.ts';

/** Part of a volume that exists: `claim` or `claim/path`. */
export interface ClaimPath {
  readonly claim: string;
  readonly subPath: string | undefined;
}

/** What `onebyte k8s render` is told. */
export interface RenderFlags {
  readonly name: string;
  readonly namespace: string;
  readonly image?: string;
  readonly workers?: number;
  /** GPUs of one worker, 0 or 1, since it computes on one; 0: the forward pass runs on CPUs. */
  readonly gpus: number;
  /** RuntimeClass of the pods that have GPUs; undefined: the default runtime of their nodes sees them. */
  readonly runtimeClass?: string;
  /** CPU cores and memory of one worker, as Kubernetes quantities. */
  readonly cpu: string;
  readonly memory: string;
  /** Room in /tmp of a worker, on the node's disk. */
  readonly scratch: string;
  /** Size of the volume for run directories, and its class; undefined: the cluster's default class. */
  readonly storage: string;
  readonly storageClass?: string;
  readonly modelClaim?: string;
  readonly dataClaim?: string;
  readonly ledgerClaim?: string;
  readonly dataByIndex?: boolean;
  /** Plain text between pods, and no join token. */
  readonly insecure?: boolean;
  /** Kueue's LocalQueue. */
  readonly queue?: string;
  readonly nodeSelector?: readonly string[];
  /** Secret with which the image is pulled. */
  readonly imagePullSecret?: string;
  /** Whether the trainer serves its page, and whether Prometheus is told of it. */
  readonly dashboard?: boolean;
  readonly serviceMonitor?: boolean;
}

/** The flags, with what is to be parsed of them parsed. */
export interface LaunchPlan extends Omit<RenderFlags, 'nodeSelector'> {
  /** With a tag or a digest. */
  readonly image: string;
  readonly version: string;
  readonly workers: number;
  /** Where the model and the data lie; undefined: in the image. */
  readonly model: ClaimPath | undefined;
  readonly data: ClaimPath | undefined;
  /** Where the workers keep the ledger of their privacy budgets; undefined: they have none, or the user mounts a volume for it. */
  readonly ledger: ClaimPath | undefined;
  /** File name of the training rows where every worker sees the folder of its own index alone. */
  readonly ownRows: string | undefined;
  /** Labels that the nodes of all pods must have. */
  readonly nodeSelector: { readonly [label: string]: string } | undefined;
  /** The run file as the pods read it. */
  readonly runFile: string;
}

/** Where things lie in a container. */
export const MOUNTS = { image: '/app', model: '/model', data: '/data', shard: '/shard', ledger: '/ledger' } as const;

/** Makes the plan. @throws OperatingError usage: a wrong run file or flag, or a path that no pod could see */
export function launchPlan(file: string, flags: RenderFlags): LaunchPlan {
  const { version } = ownPackage();
  const run = readRunFile(file);
  const image = flags.image ?? `onebyte:${version}`;
  checkImage(image);
  checkName('--name', flags.name, 40);
  checkName('--namespace', flags.namespace, 63);
  checkObject('--image-pull-secret', flags.imagePullSecret, 'Secret');
  checkObject('--runtime-class', flags.runtimeClass, 'RuntimeClass');
  if (flags.gpus > 1)
    throw usageError(`--gpus ${flags.gpus}: a worker computes on one GPU; give --gpus 1, and more --workers`);
  if (flags.runtimeClass !== undefined && flags.gpus === 0) throw usageError('--runtime-class needs --gpus 1');
  for (const flag of ['cpu', 'memory', 'scratch', 'storage'] as const) checkQuantity(`--${flag}`, flags[flag]);
  const workers = flags.workers ?? run.workers;
  if (workers < 1 || workers > MOST_WORKERS) throw usageError(`--workers ${workers}: expected 1…${MOST_WORKERS}`);
  const model = claimPath('--model-claim', flags.modelClaim);
  const data = claimPath('--data-claim', flags.dataClaim);
  const ledger = claimPath('--ledger-claim', flags.ledgerClaim);
  const { privacy } = run.worker;
  if (privacy && privacy.ledger === undefined && !ledger)
    throw usageError(
      'worker.privacy: in a pod the data is read-only, and its ledger has to outlive the pods; give --ledger-claim, a volume that the workers can write, or add one to their Job and name it in worker.privacy.ledger',
    );
  if (ledger && !privacy) throw usageError('--ledger-claim: the run file has no worker.privacy');
  // With --data-by-index no two workers have the same rows.
  const ofAll = flags.dataByIndex ? { ...run.data, shards: workers } : run.data;
  checkBudget(settled({ ...run, workers, data: ofAll }, undefined));
  if (flags.serviceMonitor && !flags.dashboard) throw usageError('--service-monitor needs --dashboard');
  if (flags.dataByIndex && !data) throw usageError('--data-by-index needs --data-claim');
  const train = trainFiles(run, file);
  if (flags.dataByIndex && train.length > 1)
    throw usageError('--data-by-index: data.train is a list, expected the name of the one file that each index has');
  const dataDirectory = dirname(train[0]!);
  const paths = {
    model: model ? MOUNTS.model : inImage('model', run.model, '--model-claim'),
    data: data ? MOUNTS.data : inImage('the folder of data.train', dataDirectory, '--data-claim'),
  };
  return {
    ...flags,
    ...{ image, version, workers, model, data, ledger },
    ownRows: flags.dataByIndex ? basename(train[0]!) : undefined,
    nodeSelector: flags.nodeSelector && nodeSelector(flags.nodeSelector),
    runFile: runFileOfPods(file, workers, { ...paths, ledger: ledger && MOUNTS.ledger }, dataDirectory, run),
  };
}

/** The user's run file, comments kept, with the paths of the pods. Flags of the containers say where to listen and write. */
function runFileOfPods(
  file: string,
  workers: number,
  paths: { readonly model: string; readonly data: string; readonly ledger: string | undefined },
  dataDirectory: string,
  { data, adapter }: ReturnType<typeof readRunFile>,
): string {
  const document = parseDocument(readFileSync(file, 'utf8'));
  const visible = (key: string, path: string): string => {
    const below = relative(dataDirectory, path);
    if (below.startsWith('..') || isAbsolute(below))
      throw usageError(`${key} ${path}: must lie in the folder of data.train, ${dataDirectory}, which the pods see`);
    return join(paths.data, below);
  };
  document.setIn(['model'], paths.model);
  document.setIn(['workers'], workers);
  if (paths.ledger !== undefined) document.setIn(['worker', 'privacy', 'ledger'], paths.ledger);
  document.deleteIn(['out']);
  const train = trainFiles({ data }, file).map((path) => visible('data.train', path));
  document.setIn(['data', 'train'], train.length === 1 ? train[0] : train);
  if (data.dev !== undefined) document.setIn(['data', 'dev'], visible('data.dev', data.dev));
  document.deleteIn(['data', 'test']);
  if (adapter.from !== undefined) document.setIn(['adapter', 'from'], visible('adapter.from', adapter.from));
  return document.toString({ lineWidth: 0 });
}

/** Where a path of this package lies in the image. */
function inImage(key: string, path: string, flag: string): string {
  const below = relative(join(packageRoot(), 'examples'), path);
  if (below.startsWith('..') || isAbsolute(below))
    throw usageError(`${key} ${path}: not in the image; put it on a volume that the pods can mount and give ${flag}`);
  if (!existsSync(path))
    throw usageError(
      `${key} ${path}: is not there, so an image made here lacks it; make it as the example's README says, or put it on a volume and give ${flag}`,
    );
  return join(MOUNTS.image, 'examples', below);
}

/** Parses `label=value`, each once. */
function nodeSelector(labels: readonly string[]): { [label: string]: string } {
  return Object.fromEntries(
    labels.map((text) => {
      const match = /^([A-Za-z0-9](?:[\w./-]*[A-Za-z0-9])?)=([A-Za-z0-9][\w.-]*)?$/.exec(text);
      if (!match) throw usageError(`--node-selector ${text}: expected LABEL=VALUE`);
      return [match[1]!, match[2] ?? ''];
    }),
  );
}

function checkImage(image: string): void {
  const tag = /:([\w][\w.-]*)$/.exec(image.replace(/@sha256:[0-9a-f]{64}$/, ''))?.[1];
  if (tag === 'latest' || (tag === undefined && !image.includes('@sha256:')))
    throw usageError(`--image ${image}: expected a tag other than latest, or a digest (@sha256:…)`);
}

/** Object names go into host names, and a Service's begins with a letter: DNS labels of RFC 1035. */
export function checkName(flag: string, name: string, longest: number): void {
  if (!/^[a-z]([a-z0-9-]*[a-z0-9])?$/.test(name) || name.length > longest)
    throw usageError(
      `${flag} ${name}: expected at most ${longest} of a-z, 0-9 and -, with a letter first and no - at the end`,
    );
}

/** Names of objects that others made, where one is given: DNS subdomains. */
function checkObject(flag: string, name: string | undefined, kind: string): void {
  if (name !== undefined && !/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(name))
    throw usageError(`${flag} ${name}: expected the name of a ${kind}`);
}

/** Kubernetes quantities as people write them: 500m, 2, 1.5Gi. */
function checkQuantity(flag: string, quantity: string): void {
  if (!/^\d+(\.\d+)?(m|k|[MGT]|[KMGT]i)?$/.test(quantity))
    throw usageError(`${flag} ${quantity}: expected a quantity like 500m, 2 or 4Gi`);
}

function claimPath(flag: string, text: string | undefined): ClaimPath | undefined {
  if (text === undefined) return undefined;
  const match = /^([a-z0-9][a-z0-9.-]*)(?:\/(.+))?$/.exec(text);
  if (!match || match[2]?.split('/').includes('..')) throw usageError(`${flag} ${text}: expected CLAIM or CLAIM/PATH`);
  return { claim: match[1]!, subPath: match[2] };
}
