/** What the pods of trainer and workers have in common: who they are, what they may do, what they see. */
import type { Job } from 'kubernetes-types/batch/v1.js';
import type { Container, EnvVar, PodSpec, Probe, Volume, VolumeMount } from 'kubernetes-types/core/v1.js';
import type { ObjectMeta } from 'kubernetes-types/meta/v1.js';
import { READY_SERVICE } from '../../processes/health.ts';
import { type LaunchPlan, MOUNTS } from './plan.ts';

export type Component = 'trainer' | 'worker';

export const PORTS = { rounds: 50051, health: 50052, dashboard: 8080 } as const;
/** Run directories are below it, on the trainer's volume. */
export const RUNS = '/runs';
/** In arguments: the pod's address, IPv4. */
export const POD_IP = '$(POD_IP)';
export const RUN_FILE = '/etc/onebyte/run.yaml';
const TLS = '/etc/onebyte-tls';
/** The number of the image's user; not root, and nobody on the machine. */
const USER = 10001;

export const secretNames = ({ name }: Pick<LaunchPlan, 'name'>): { tls: string; token: string } => ({
  tls: `${name}-tls`,
  token: `${name}-join-token`,
});
export const objectName = ({ name }: Pick<LaunchPlan, 'name'>, part: string): string => `${name}-${part}`;

/** Labels that select the pods of one component of one run, or the Service of its page. */
export const selectorOf = ({ name }: LaunchPlan, component: Component | 'dashboard'): { [key: string]: string } => ({
  'app.kubernetes.io/name': 'onebyte',
  'app.kubernetes.io/instance': name,
  'app.kubernetes.io/component': component,
});

/** Metadata of an object of the run. */
export function metadata(plan: LaunchPlan, name: string, component?: Component | 'dashboard'): ObjectMeta {
  const { namespace, version } = plan;
  const labels: { [key: string]: string } = {
    'app.kubernetes.io/name': 'onebyte',
    'app.kubernetes.io/instance': plan.name,
    ...(component && { 'app.kubernetes.io/component': component }),
    'app.kubernetes.io/version': version,
    'app.kubernetes.io/part-of': 'onebyte',
  };
  return { name, namespace, labels };
}

/** A Job's metadata: Kueue reads its queue from a label. */
export function jobMetadata(plan: LaunchPlan, component: Component): ObjectMeta {
  const meta = metadata(plan, objectName(plan, component), component);
  if (plan.queue !== undefined) meta.labels!['kueue.x-k8s.io/queue-name'] = plan.queue;
  return meta;
}

export interface PodParts {
  readonly component: Component;
  readonly args: string[];
  readonly resources: Container['resources'];
  readonly scratch: string;
  readonly ports: Container['ports'];
  readonly volumes: Volume[];
  readonly mounts: VolumeMount[];
  readonly gracePeriodSeconds: number;
}

/** A pod template that the restricted Pod Security standard admits. */
export function podTemplate(plan: LaunchPlan, parts: PodParts): NonNullable<Job['spec']>['template'] {
  const { component, args, resources, ports, gracePeriodSeconds } = parts;
  const container: Container = {
    name: component,
    image: plan.image,
    imagePullPolicy: 'IfNotPresent',
    args,
    env: environment(plan),
    ports: [...(ports ?? []), { name: 'health', containerPort: PORTS.health, protocol: 'TCP' }],
    resources,
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      capabilities: { drop: ['ALL'] },
    },
    // A large model takes its time to load: half an hour. Until then nothing else is asked.
    startupProbe: { ...probe(''), periodSeconds: 5, failureThreshold: 360 },
    livenessProbe: { ...probe(''), periodSeconds: 20, failureThreshold: 6 },
    readinessProbe: { ...probe(READY_SERVICE), periodSeconds: 3, failureThreshold: 2 },
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: [
      { name: 'run-file', mountPath: '/etc/onebyte', readOnly: true },
      { name: 'tmp', mountPath: '/tmp' },
      ...(plan.insecure ? [] : [{ name: 'tls', mountPath: TLS, readOnly: true }]),
      ...parts.mounts,
    ],
  };
  const spec: PodSpec = {
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: gracePeriodSeconds,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    ...(plan.nodeSelector && { nodeSelector: plan.nodeSelector }),
    ...(plan.imagePullSecret !== undefined && { imagePullSecrets: [{ name: plan.imagePullSecret }] }),
    securityContext: {
      runAsNonRoot: true,
      runAsUser: USER,
      runAsGroup: USER,
      fsGroup: USER,
      fsGroupChangePolicy: 'OnRootMismatch',
      seccompProfile: { type: 'RuntimeDefault' },
    },
    containers: [container],
    volumes: [
      { name: 'run-file', configMap: { name: objectName(plan, 'run') } },
      { name: 'tmp', emptyDir: { sizeLimit: parts.scratch } },
      ...(plan.insecure ? [] : [tlsVolume(plan, component)]),
      ...parts.volumes,
    ],
  };
  return { metadata: { labels: metadata(plan, '', component).labels! }, spec };
}

const probe = (service: string): Probe => ({
  grpc: { port: PORTS.health, ...(service !== '' && { service }) },
  timeoutSeconds: 5,
});

/** HOME is writable for the caches of file digests and of weights in 8 bits; the join token never shows in the arguments. */
function environment(plan: LaunchPlan): EnvVar[] {
  const env: EnvVar[] = [
    { name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
    { name: 'HOME', value: '/tmp' },
    { name: 'ONEBYTE_LOG_FORMAT', value: 'json' },
  ];
  const secretKeyRef = { name: secretNames(plan).token, key: 'token' };
  return plan.insecure ? env : [...env, { name: 'ONEBYTE_JOIN_TOKEN', valueFrom: { secretKeyRef } }];
}

/** Workers see the authority's certificate only, not the trainer's key. */
function tlsVolume(plan: LaunchPlan, component: Component): Volume {
  const keys = component === 'trainer' ? ['tls.crt', 'tls.key'] : ['ca.crt'];
  const items = keys.map((key) => ({ key, path: key }));
  return { name: 'tls', secret: { secretName: secretNames(plan).tls, defaultMode: 0o440, items } };
}

/** Flags of `onebyte trainer` or `onebyte worker` about TLS. */
export function tlsArguments({ insecure }: LaunchPlan, component: Component): string[] {
  if (insecure) return ['--insecure'];
  if (component === 'worker') return [`--tls-ca=${TLS}/ca.crt`];
  return [`--tls-cert=${TLS}/tls.crt`, `--tls-key=${TLS}/tls.key`];
}

/** Read-only volumes with the model and, unless every worker has its own folder, the data. */
export function inputVolumes({ model, data, ownRows }: LaunchPlan): { volumes: Volume[]; mounts: VolumeMount[] } {
  const volumes: Volume[] = [];
  const mounts: VolumeMount[] = [];
  const add = (name: string, claimName: string, mountPath: string, subPath: string | undefined): void => {
    volumes.push({ name, persistentVolumeClaim: { claimName, readOnly: true } });
    mounts.push({ name, mountPath, readOnly: true, ...(subPath !== undefined && { subPath }) });
  };
  if (model) add('model', model.claim, MOUNTS.model, model.subPath);
  if (data) add('data', data.claim, MOUNTS.data, below(data.subPath, ownRows === undefined ? undefined : 'shared'));
  return { volumes, mounts };
}

/** Joins parts of a path in a volume; undefined is the volume's root. */
export const below = (...parts: (string | undefined)[]): string | undefined => {
  const given = parts.filter((part) => part !== undefined);
  return given.length === 0 ? undefined : given.join('/');
};
