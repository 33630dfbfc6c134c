/** All objects of a run on Kubernetes, in the order in which they are applied. */
import type { Job } from 'kubernetes-types/batch/v1.js';
import type { ConfigMap, Namespace, PersistentVolumeClaim, Service } from 'kubernetes-types/core/v1.js';
import type { ObjectMeta } from 'kubernetes-types/meta/v1.js';
import type { NetworkPolicy, NetworkPolicyEgressRule } from 'kubernetes-types/networking/v1.js';
import type { PodDisruptionBudget } from 'kubernetes-types/policy/v1.js';
import { trainerJob, workerJob } from './jobs.ts';
import type { LaunchPlan } from './plan.ts';
import { type Component, metadata, objectName, PORTS, selectorOf } from './pod.ts';

export type LaunchObject =
  | Namespace
  | ConfigMap
  | Service
  | PersistentVolumeClaim
  | Job
  | PodDisruptionBudget
  | NetworkPolicy
  | ServiceMonitor;

/** Of the Prometheus Operator: what of a Service is scraped. */
interface ServiceMonitor {
  readonly apiVersion: 'monitoring.coreos.com/v1';
  readonly kind: 'ServiceMonitor';
  readonly metadata: ObjectMeta;
  readonly spec: {
    readonly selector: { readonly matchLabels: { readonly [label: string]: string } };
    readonly endpoints: readonly { readonly port: string; readonly path: string }[];
  };
}

/** The objects by the file of the kustomize base that holds them. */
export function launchObjects(plan: LaunchPlan): { readonly [file: string]: LaunchObject[] } {
  return {
    'namespace.yaml': [namespace(plan)],
    'run.yaml': [runFile(plan)],
    'trainer.yaml': [runsClaim(plan), service(plan), budget(plan, 'trainer'), trainerNetwork(plan), trainerJob(plan)],
    ...(plan.dashboard && { 'dashboard.yaml': dashboard(plan) }),
    'workers.yaml': [budget(plan, 'worker'), workerNetwork(plan), workerJob(plan)],
  };
}

/** Nothing but pods of the restricted standard may run in it. */
function namespace({ namespace: name, version }: LaunchPlan): Namespace {
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: {
      name,
      labels: {
        'app.kubernetes.io/name': 'onebyte',
        'app.kubernetes.io/version': version,
        'pod-security.kubernetes.io/enforce': 'restricted',
        'pod-security.kubernetes.io/warn': 'restricted',
      },
    },
  };
}

const runFile = (plan: LaunchPlan): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: metadata(plan, objectName(plan, 'run')),
  data: { 'run.yaml': plan.runFile },
});

/** Outlives both Jobs: round log and checkpoints. */
function runsClaim(plan: LaunchPlan): PersistentVolumeClaim {
  const { storage, storageClass } = plan;
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: metadata(plan, objectName(plan, 'runs'), 'trainer'),
    spec: {
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage } },
      ...(storageClass !== undefined && { storageClassName: storageClass }),
    },
  };
}

/** Headless: its name resolves to the trainer's pod while that is ready. */
const service = (plan: LaunchPlan): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: metadata(plan, objectName(plan, 'trainer'), 'trainer'),
  spec: {
    clusterIP: 'None',
    selector: selectorOf(plan, 'trainer'),
    ports: [{ name: 'rounds', port: PORTS.rounds, targetPort: 'rounds', protocol: 'TCP', appProtocol: 'grpc' }],
  },
});

/** The trainer's page and /metrics, and who tells Prometheus of them. Only this Service has the component `dashboard`. */
function dashboard(plan: LaunchPlan): LaunchObject[] {
  const meta = metadata(plan, objectName(plan, 'dashboard'), 'dashboard');
  const page: Service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: meta,
    spec: {
      selector: selectorOf(plan, 'trainer'),
      ports: [{ name: 'dashboard', port: PORTS.dashboard, targetPort: 'dashboard', protocol: 'TCP' }],
    },
  };
  const monitor: ServiceMonitor = {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'ServiceMonitor',
    metadata: meta,
    spec: {
      selector: { matchLabels: selectorOf(plan, 'dashboard') },
      endpoints: [{ port: 'dashboard', path: '/metrics' }],
    },
  };
  return plan.serviceMonitor ? [page, monitor] : [page];
}

/** The trainer is moved by hand only; of the workers at least half stay, so that rounds keep their quorum. */
function budget(plan: LaunchPlan, component: Component): PodDisruptionBudget {
  const minAvailable = component === 'trainer' ? 1 : Math.max(1, Math.floor(plan.workers / 2));
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: metadata(plan, objectName(plan, component), component),
    spec: {
      minAvailable,
      unhealthyPodEvictionPolicy: 'AlwaysAllow',
      selector: { matchLabels: selectorOf(plan, component) },
    },
  };
}

/** Workers reach the trainer's port, every pod of the cluster its page where there is one, and it reaches nobody. Probes come from the machine and need no rule. */
const trainerNetwork = (plan: LaunchPlan): NetworkPolicy => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: metadata(plan, objectName(plan, 'trainer'), 'trainer'),
  spec: {
    podSelector: { matchLabels: selectorOf(plan, 'trainer') },
    policyTypes: ['Ingress', 'Egress'],
    ingress: [
      {
        from: [{ podSelector: { matchLabels: selectorOf(plan, 'worker') } }],
        ports: [{ port: PORTS.rounds, protocol: 'TCP' }],
      },
      ...(plan.dashboard
        ? [{ from: [{ namespaceSelector: {} }], ports: [{ port: PORTS.dashboard, protocol: 'TCP' }] }]
        : []),
    ],
    egress: [],
  },
});

/** Workers reach the trainer and the cluster's names, and nobody reaches them. */
const workerNetwork = (plan: LaunchPlan): NetworkPolicy => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: metadata(plan, objectName(plan, 'worker'), 'worker'),
  spec: {
    podSelector: { matchLabels: selectorOf(plan, 'worker') },
    policyTypes: ['Ingress', 'Egress'],
    ingress: [],
    egress: [
      {
        to: [{ podSelector: { matchLabels: selectorOf(plan, 'trainer') } }],
        ports: [{ port: PORTS.rounds, protocol: 'TCP' }],
      },
      DNS,
    ],
  },
});

const DNS: NetworkPolicyEgressRule = {
  to: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } } }],
  ports: [
    { port: 53, protocol: 'UDP' },
    { port: 53, protocol: 'TCP' },
  ],
};
