/** The two Jobs of a run. The trainer's ends with the run and its exit is the verdict; the workers' is elastic. */
import type { Job, PodFailurePolicy } from 'kubernetes-types/batch/v1.js';
import type { ResourceRequirements } from 'kubernetes-types/core/v1.js';
import { EXIT } from '../../proto/operating-error.ts';
import { type LaunchPlan, MOUNTS } from './plan.ts';
import {
  below,
  inputVolumes,
  jobMetadata,
  objectName,
  POD_IP,
  PORTS,
  podTemplate,
  RUN_FILE,
  RUNS,
  tlsArguments,
} from './pod.ts';

/** Failures of one index, or of the trainer, that are put down to bad luck; an eviction and a drain do not count as failures. */
const TRIES = 5;
/** Room in /tmp of the trainer, and of a worker where nothing else is asked for. */
export const SCRATCH = '1Gi';
/** Drain of a trainer: it closes the round, writes a checkpoint and gives workers 10 s to hang up. */
const TRAINER_GRACE_SECONDS = 60;
/** Drain of a worker: it finishes the forward pass that is under way. */
const WORKER_GRACE_SECONDS = 60;

/** One pod, replaced only once the old one is gone, since both write the same round log. */
export function trainerJob(plan: LaunchPlan): Job {
  const { volumes, mounts } = inputVolumes(plan);
  const template = podTemplate(plan, {
    component: 'trainer',
    args: [
      'trainer',
      RUN_FILE,
      '--resume',
      `--out=${RUNS}/${plan.name}`,
      `--listen=${POD_IP}:${PORTS.rounds}`,
      `--health=${POD_IP}:${PORTS.health}`,
      ...(plan.dashboard ? [`--dashboard=${POD_IP}:${PORTS.dashboard}`] : []),
      ...tlsArguments(plan, 'trainer'),
      '--json',
    ],
    resources: resources(SCRATCH, { cpu: '500m', memory: '1Gi' }, { cpu: '2', memory: '4Gi' }),
    scratch: SCRATCH,
    ports: [
      { name: 'rounds', containerPort: PORTS.rounds, protocol: 'TCP' },
      ...(plan.dashboard ? [{ name: 'dashboard', containerPort: PORTS.dashboard, protocol: 'TCP' }] : []),
    ],
    volumes: [{ name: 'runs', persistentVolumeClaim: { claimName: objectName(plan, 'runs') } }, ...volumes],
    mounts: [{ name: 'runs', mountPath: RUNS }, ...mounts],
    gracePeriodSeconds: TRAINER_GRACE_SECONDS,
  });
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: jobMetadata(plan, 'trainer'),
    spec: {
      completions: 1,
      parallelism: 1,
      backoffLimit: TRIES,
      podReplacementPolicy: 'Failed',
      // A damaged store and a diverged run are the same after a restart.
      podFailurePolicy: failurePolicy('trainer', [EXIT.usage, EXIT.durableStore, EXIT.diverged]),
      template,
    },
  };
}

/** One pod for each worker number. Scaled by patching completions and parallelism together. */
export function workerJob(plan: LaunchPlan): Job {
  const { volumes, mounts } = inputVolumes(plan);
  const { data, ledger, ownRows } = plan;
  if (data && ownRows !== undefined)
    mounts.push({
      name: 'data',
      mountPath: MOUNTS.shard,
      readOnly: true,
      subPathExpr: below(data.subPath, 'shards', '$(JOB_COMPLETION_INDEX)')!,
    });
  if (ledger) {
    volumes.push({ name: 'ledger', persistentVolumeClaim: { claimName: ledger.claim } });
    // Workers of a shared file keep its ledgers by shard; one with rows of its own has a folder.
    const folder = below(ledger.subPath, ownRows === undefined ? undefined : '$(JOB_COMPLETION_INDEX)');
    mounts.push({ name: 'ledger', mountPath: MOUNTS.ledger, ...(folder !== undefined && { subPathExpr: folder }) });
  }
  const template = podTemplate(plan, {
    component: 'worker',
    args: workerArguments(plan),
    resources: workerResources(plan),
    scratch: plan.scratch,
    ports: [],
    volumes,
    mounts,
    gracePeriodSeconds: WORKER_GRACE_SECONDS,
  });
  const spec = template.spec!;
  if (plan.gpus > 0) spec.tolerations = [{ key: GPU, operator: 'Exists', effect: 'NoSchedule' }];
  if (plan.runtimeClass !== undefined) spec.runtimeClassName = plan.runtimeClass;
  // A lost machine should cost few workers.
  const labelSelector = { matchLabels: template.metadata!.labels! };
  const topologyKey = 'kubernetes.io/hostname';
  spec.topologySpreadConstraints = [{ maxSkew: 1, topologyKey, whenUnsatisfiable: 'ScheduleAnyway', labelSelector }];
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: jobMetadata(plan, 'worker'),
    spec: {
      completionMode: 'Indexed',
      completions: plan.workers,
      parallelism: plan.workers,
      backoffLimitPerIndex: TRIES,
      maxFailedIndexes: Math.floor(plan.workers / 2),
      podReplacementPolicy: 'Failed',
      podFailurePolicy: failurePolicy('worker', [EXIT.usage]),
      // A worker exits 0 only when the trainer has said that the run is done: then it is done for all of them.
      successPolicy: { rules: [{ succeededCount: 1 }] },
      template,
    },
  };
}

const GPU = 'nvidia.com/gpu';

/** The worker number, and with it the shard, comes from JOB_COMPLETION_INDEX. */
function workerArguments(plan: LaunchPlan): string[] {
  const { ownRows, gpus } = plan;
  return [
    'worker',
    RUN_FILE,
    `--trainer=${objectName(plan, 'trainer')}:${PORTS.rounds}`,
    `--health=${POD_IP}:${PORTS.health}`,
    ...(ownRows === undefined ? [] : [`--data=${MOUNTS.shard}/${ownRows}`]),
    ...(gpus > 0 ? ['--set=worker.provider=cuda'] : []),
    ...tlsArguments(plan, 'worker'),
    '--json',
  ];
}

function workerResources({ cpu, memory, gpus, scratch }: LaunchPlan): ResourceRequirements {
  const amounts = { cpu, memory, ...(gpus > 0 && { [GPU]: String(gpus) }) };
  return resources(scratch, amounts, amounts);
}

type Amounts = { readonly [resource: string]: string };

const resources = (scratch: string, requests: Amounts, limits: Amounts): ResourceRequirements => ({
  requests: { ...requests, 'ephemeral-storage': scratch },
  limits: { ...limits, 'ephemeral-storage': scratch },
});

/** Disruptions and drains cost nothing, what no retry can mend fails the Job at once, all else counts. */
function failurePolicy(containerName: string, hopeless: number[]): PodFailurePolicy {
  return {
    rules: [
      { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
      { action: 'Ignore', onExitCodes: { containerName, operator: 'In', values: [EXIT.drained] } },
      { action: 'FailJob', onExitCodes: { containerName, operator: 'In', values: hopeless } },
      { action: 'Count', onExitCodes: { containerName, operator: 'NotIn', values: [...hopeless, EXIT.drained] } },
    ],
  };
}
