/** `onebyte k8s`: prints what Kubernetes needs to run a run. Nothing here speaks to a cluster; pipe it into kubectl. */
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Command } from 'commander';
import { SCRATCH } from '../k8s/render/jobs.ts';
import { type Accelerator, kustomizeFiles, toYaml } from '../k8s/render/kustomize.ts';
import { launchObjects } from '../k8s/render/objects.ts';
import { checkName, launchPlan, type RenderFlags } from '../k8s/render/plan.ts';
import { launchSecrets, type SecretsPlan } from '../k8s/render/secrets.ts';
import { makeDirectories } from '../platform/make-directories.ts';
import { EXIT, usageError } from '../proto/operating-error.ts';
import { printJson, repeated, runCommand, wholeNumber } from './command.ts';

/** The workers of the overlays that `--kustomize` writes. */
export const OVERLAYS: { readonly [name: string]: Accelerator } = {
  cpu: { cpu: '2', memory: '4Gi', gpus: 0 },
  gpu: { cpu: '4', memory: '16Gi', gpus: 1 },
};

const withName = (command: Command): Command =>
  command
    .option('--name <name>', 'name of the run: begins the names of all objects', 'onebyte')
    .option('--namespace <name>', 'namespace', 'onebyte');

const renderCommand = withName(new Command('render'))
  .description('print the objects that launch a trainer and its workers, as YAML for kubectl apply -f -')
  .argument('<run.yaml>', 'run file')
  .option('--image <image>', 'image with a tag or a digest (default: onebyte:VERSION)')
  .option('--workers <n>', 'worker pods (workers)', wholeNumber)
  .option('--gpus <n>', 'NVIDIA GPUs of a worker: 0 or 1', wholeNumber, 0)
  .option('--runtime-class <name>', 'with --gpus: RuntimeClass of the workers, where the default runtime sees no GPU')
  .option('--cpu <quantity>', 'CPU cores of a worker', '1')
  .option('--memory <quantity>', 'memory of a worker', '2Gi')
  .option(
    '--scratch <quantity>',
    'room in /tmp of a worker: worker.quantize takes a byte there for each weight',
    SCRATCH,
  )
  .option('--storage <quantity>', 'size of the volume for round log, checkpoints and metrics', '1Gi')
  .option('--storage-class <name>', "its storage class (default: the cluster's)")
  .option('--model-claim <claim[/path]>', 'PersistentVolumeClaim with the model, mounted read-only by all pods')
  .option('--data-claim <claim[/path]>', 'PersistentVolumeClaim with the folder of data.train, mounted read-only')
  .option(
    '--ledger-claim <claim[/path]>',
    'PersistentVolumeClaim that workers with worker.privacy can write: their ledger, to be kept as long as the data',
  )
  .option(
    '--data-by-index',
    'worker I sees shards/I/ of the data volume alone, with its own rows, and all see shared/ with the dev split',
  )
  .option('--insecure', 'plain text between the pods and no join token')
  .option('--node-selector <label=value>', 'label that the nodes of all pods must have; may be repeated', repeated)
  .option('--image-pull-secret <name>', 'Secret with which the image is pulled')
  .option('--dashboard', 'serve the page of the run, /metrics and /status to the pods of the cluster, in plain text')
  .option('--service-monitor', 'with --dashboard: a ServiceMonitor too, where the Prometheus Operator runs')
  .option('--queue <name>', 'LocalQueue of Kueue')
  .option('--json', 'one line of JSON, a List, instead of YAML')
  .option('--kustomize <dir>', 'write a base and overlays cpu and gpu there instead of printing')
  .addHelpText(
    'after',
    '\nExample:\n  onebyte k8s render examples/tiny-reviews/run.yaml --workers 4 | kubectl apply -f -\n',
  )
  .action((file: string, flags: RenderFlags & { readonly kustomize?: string; readonly json?: boolean }) =>
    runCommand(async () => {
      const plan = launchPlan(file, flags);
      if (flags.kustomize === undefined) print(Object.values(launchObjects(plan)).flat(), flags.json);
      else writeFiles(flags.kustomize, kustomizeFiles(plan, OVERLAYS));
      return EXIT.done;
    }),
  );

const secretsCommand = withName(new Command('secrets'))
  .description('print new Secrets with a join token and TLS certificates; needs the openssl command')
  .option('--days <n>', 'how long the certificate holds', wholeNumber, 365)
  .option('--json', 'one line of JSON, a List, instead of YAML')
  .addHelpText('after', '\nExample:\n  onebyte k8s secrets | kubectl create -f -\n')
  .action((plan: SecretsPlan & { readonly json?: boolean }) =>
    runCommand(async () => {
      checkName('--name', plan.name, 40);
      checkName('--namespace', plan.namespace, 63);
      if (plan.days < 1) throw usageError(`--days ${plan.days}: expected at least 1`);
      print(launchSecrets(plan), plan.json);
      return EXIT.done;
    }),
  );

export const k8sCommand = new Command('k8s')
  .description('what Kubernetes needs to run a run: objects and secrets as YAML')
  .addCommand(renderCommand)
  .addCommand(secretsCommand)
  .addHelpText('after', '\nExample:\n  onebyte k8s render run.yaml | kubectl apply -f -\n');

/** For `kubectl`, which reads both. */
function print(objects: readonly object[], json = false): void {
  if (json) printJson({ apiVersion: 'v1', kind: 'List', items: objects });
  else process.stdout.write(toYaml(objects));
}

function writeFiles(directory: string, files: { readonly [path: string]: string }): void {
  for (const [path, text] of Object.entries(files)) {
    makeDirectories(dirname(join(directory, path)));
    writeFileSync(join(directory, path), text);
  }
}
