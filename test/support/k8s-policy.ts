/** Rules that every rendered launch keeps, beyond what the API server checks. Speaks of objects as they are in YAML. */
import { parse } from 'yaml';
import { RunFile } from '../../settings/run-file.ts';

// biome-ignore lint/suspicious/noExplicitAny: objects of any kind, as parsed, and broken ones too
export type Loose = any;

interface Launch {
  readonly objects: Loose[];
  readonly of: (kind: string) => Loose[];
  readonly job: (component: string) => Loose;
  readonly jobs: Loose[];
}

/** What is wrong with `objects`, one sentence for each; empty: nothing. */
export function violations(objects: Loose[]): string[] {
  const of = (kind: string): Loose[] => objects.filter((object) => object.kind === kind);
  const job = (component: string): Loose =>
    of('Job').find((each) => each.metadata.labels?.['app.kubernetes.io/component'] === component);
  if (!job('trainer') || !job('worker')) return ['there must be a Job of a trainer and one of workers'];
  const launch = { objects, of, job, jobs: of('Job') };
  return [...RULES_OF_ALL, jobRules, trainerRules, workerRules, networkRules].flatMap((rule) => rule(launch));
}

const say = (wrong: unknown, sentence: string): string[] => (wrong ? [sentence] : []);
const podOf = (job: Loose): Loose => job.spec.template.spec;
const containerOf = (job: Loose): Loose => podOf(job).containers[0];
const matches = (selector: Loose, labels: Loose): boolean =>
  Object.entries(selector ?? {}).every(([key, value]) => labels?.[key] === value);

const RULES_OF_ALL: readonly ((launch: Launch) => string[])[] = [
  ({ objects, of }) => {
    const name = of('Namespace')[0]?.metadata.name;
    const elsewhere = objects.filter(({ kind, metadata }) => kind !== 'Namespace' && metadata.namespace !== name);
    return [
      ...say(elsewhere.length > 0, 'every object lies in the namespace of the launch'),
      ...say(
        of('Namespace')[0]?.metadata.labels['pod-security.kubernetes.io/enforce'] !== 'restricted',
        'the namespace enforces the restricted standard',
      ),
      ...say(of('Secret').length > 0, 'no secret value is rendered'),
      ...say(
        objects.some(({ metadata }) => !metadata.labels?.['app.kubernetes.io/name']),
        'every object has the recommended labels',
      ),
    ];
  },
  ({ of }) => {
    const parsed = RunFile.safeParse(parse(of('ConfigMap')[0]?.data?.['run.yaml'] ?? ''));
    return say(!parsed.success, `the run file is valid: ${parsed.error?.message}`);
  },
  ({ of, jobs }) =>
    of('PodDisruptionBudget').flatMap(({ spec }) => {
      const job = jobs.find((each) => matches(spec.selector.matchLabels, each.spec.template.metadata.labels));
      const allowed = Number.isInteger(spec.minAvailable) && spec.minAvailable >= 1;
      const most = Math.max(1, (job?.spec.completions ?? 1) - 1);
      return [
        ...say(!job, 'a budget selects the pods of a Job'),
        ...say(!allowed || spec.minAvailable > most, 'a budget is a number that leaves a worker to evict'),
      ];
    }),
];

function jobRules({ jobs, of }: Launch): string[] {
  return jobs.flatMap((job) => {
    const pod = podOf(job);
    const container = containerOf(job);
    const { securityContext = {}, resources = {}, image = '', volumeMounts = [] } = container;
    const tag = /:([\w.-]+)$/.exec(image.replace(/@sha256:.*/, ''))?.[1];
    const volumes: Loose[] = pod.volumes ?? [];
    const claims = of('PersistentVolumeClaim').map(({ metadata }) => metadata.name);
    const maps = of('ConfigMap').map(({ metadata }) => metadata.name);
    const inputs = volumeMounts.filter((mount: Loose) => ['model', 'data', 'run-file', 'tls'].includes(mount.name));
    const ports = (container.ports ?? []).map((port: Loose) => port.containerPort);
    const probes = [container.startupProbe, container.livenessProbe, container.readinessProbe];
    const token = container.env?.find((each: Loose) => each.name === 'ONEBYTE_JOIN_TOKEN');
    const plain = container.args.includes('--insecure');
    return [
      ...say(tag === 'latest' || (tag === undefined && !image.includes('@')), 'images have a tag that is not latest'),
      ...say(!['cpu', 'memory'].every((key) => resources.limits?.[key]), 'CPU and memory have limits'),
      ...say(!['cpu', 'memory'].every((key) => resources.requests?.[key]), 'CPU and memory have requests'),
      ...say(
        pod.securityContext?.runAsNonRoot !== true || !(pod.securityContext.runAsUser > 0),
        'nothing runs as root',
      ),
      ...say(securityContext.privileged || securityContext.allowPrivilegeEscalation !== false, 'nothing is privileged'),
      ...say(
        !securityContext.capabilities?.drop?.includes('ALL') || securityContext.capabilities.add,
        'all capabilities are dropped',
      ),
      ...say(securityContext.readOnlyRootFilesystem !== true, 'the root file system is read-only'),
      ...say(pod.securityContext?.seccompProfile?.type !== 'RuntimeDefault', 'seccomp is the default of the runtime'),
      ...say(
        pod.hostNetwork || pod.hostPID || pod.hostIPC || volumes.some((each) => each.hostPath),
        'no host is shared',
      ),
      ...say(pod.automountServiceAccountToken !== false, 'pods have no token of the API server'),
      ...say(pod.restartPolicy !== 'Never', 'the Job, not the kubelet, starts pods again'),
      ...say(!(pod.terminationGracePeriodSeconds >= 30), 'a drain has at least 30 s'),
      ...say(
        probes.some((probe) => !ports.includes(probe?.grpc?.port)),
        'all three probes are gRPC on a port of the container',
      ),
      ...say(
        volumeMounts.some((mount: Loose) => !volumes.some(({ name }) => name === mount.name)),
        'every mount has its volume',
      ),
      ...say(
        volumes.some(({ configMap }) => configMap && !maps.includes(configMap.name)),
        'every config map is of the launch',
      ),
      ...say(
        volumes.some(
          ({ name, persistentVolumeClaim }) => name === 'runs' && !claims.includes(persistentVolumeClaim.claimName),
        ),
        'the claim for run directories is of the launch',
      ),
      ...say(
        inputs.some((mount: Loose) => mount.readOnly !== true),
        'model, data, run file and keys are read-only',
      ),
      ...say(!plain && !token?.valueFrom?.secretKeyRef, 'the join token comes from a Secret'),
      ...failureRules(job),
    ];
  });
}

/** The rules of an exit code are looked through from the top: the order counts. */
function failureRules({ spec }: Loose): string[] {
  const rules: Loose[] = spec.podFailurePolicy?.rules ?? [];
  const name = spec.template.spec.containers[0].name;
  const actionOf = (code: number): string | undefined =>
    rules.find(
      ({ onExitCodes: on }) =>
        on?.containerName === name && (on.operator === 'In') === on.values.includes(code) && on.values.length > 0,
    )?.action;
  return [
    ...say(spec.podReplacementPolicy !== 'Failed', 'a pod is replaced once it is gone'),
    ...say(
      rules[0]?.action !== 'Ignore' || rules[0].onPodConditions?.[0]?.type !== 'DisruptionTarget',
      'a disruption is ignored before anything else is asked',
    ),
    ...say(actionOf(75) !== 'Ignore', 'exit code 75 (drained) is ignored'),
    ...say(actionOf(2) !== 'FailJob', 'exit code 2 fails the Job'),
    ...say([1, 4, 137].map(actionOf).join() !== 'Count,Count,Count', 'other exit codes count'),
  ];
}

function trainerRules({ job, of }: Launch): string[] {
  const { spec } = job('trainer');
  const { args, ports } = containerOf(job('trainer'));
  const service = of('Service')[0];
  return [
    ...say(spec.completions !== 1 || spec.parallelism !== 1, 'there is one trainer'),
    ...say(!args.includes('--resume'), 'a replaced trainer goes on with its round log'),
    ...say(service?.spec.clusterIP !== 'None', 'the Service is headless'),
    ...say(!matches(service?.spec.selector, spec.template.metadata.labels), 'the Service selects the trainer'),
    ...say(!ports.some(({ name }: Loose) => name === service?.spec.ports[0].targetPort), "the Service's port is open"),
    ...say(of('PersistentVolumeClaim')[0]?.spec.accessModes?.[0] !== 'ReadWriteOnce', 'the run volume has one writer'),
  ];
}

function workerRules({ job, of }: Launch): string[] {
  const { spec } = job('worker');
  const { args } = containerOf(job('worker'));
  const service = of('Service')[0];
  const address = `--trainer=${service?.metadata.name}:${service?.spec.ports[0].port}`;
  return [
    ...say(spec.completionMode !== 'Indexed', 'workers are indexed'),
    ...say(spec.completions !== spec.parallelism, 'completions and parallelism of an elastic Job are equal'),
    ...say(!(spec.backoffLimitPerIndex >= 1), 'every index has tries of its own'),
    ...say(!(spec.maxFailedIndexes < spec.completions), 'not all indexes may fail'),
    ...say(spec.successPolicy?.rules?.[0]?.succeededCount !== 1, 'the first worker that is done ends the Job'),
    ...say(!args.includes(address), "workers call the trainer by its Service's name"),
    ...say(
      args.some((arg: string) => arg.startsWith('--number')),
      'the number of a worker is its index',
    ),
  ];
}

function networkRules({ of, jobs }: Launch): string[] {
  const policies = of('NetworkPolicy');
  return jobs.flatMap((job) => {
    const own = policies.filter(({ spec }) => matches(spec.podSelector.matchLabels, job.spec.template.metadata.labels));
    const types = own.flatMap(({ spec }) => spec.policyTypes);
    const rules = own.flatMap(({ spec }) => [...(spec.ingress ?? []), ...(spec.egress ?? [])]);
    return [
      ...say(!types.includes('Ingress') || !types.includes('Egress'), 'every pod has a policy for both directions'),
      ...say(
        rules.some((rule) => (!rule.from && !rule.to) || !rule.ports),
        'no network rule is open to everybody',
      ),
    ];
  });
}
