import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jobOf, podOf, tinyLaunch } from '../../support/k8s-launch.ts';
import { type Loose, violations } from '../../support/k8s-policy.ts';

for (const [name, flags] of Object.entries({
  'the plain launch': {},
  'a launch on GPUs': { gpus: 1 },
  'a launch with volumes': { modelClaim: 'm', dataClaim: 'd', dataByIndex: true },
  'a launch without TLS': { insecure: true },
  'a launch of one worker': { workers: 1 },
  'a launch with a page': { dashboard: true, serviceMonitor: true },
}))
  test(`${name} breaks no rule`, () => {
    assert.deepEqual(violations(tinyLaunch(flags)), []);
  });

type Mistake = readonly [what: string, make: (objects: Loose[]) => void, rule: RegExp];

const trainer = (objects: Loose[]): Loose => podOf(objects, 'trainer');
const container = (objects: Loose[]): Loose => podOf(objects, 'worker').containers[0];
const worker = (objects: Loose[]): Loose => jobOf(objects, 'worker').spec;
const first = (objects: Loose[], kind: string): Loose => objects.find((object) => object.kind === kind);
const rule = (objects: Loose[], code: number): Loose =>
  worker(objects).podFailurePolicy.rules.find(
    ({ onExitCodes }: Loose) => onExitCodes?.operator === 'In' && onExitCodes.values.includes(code),
  );

const MISTAKES: readonly Mistake[] = [
  ['image latest', (all) => Object.assign(container(all), { image: 'onebyte:latest' }), /not latest/],
  ['image without a tag', (all) => Object.assign(trainer(all).containers[0], { image: 'onebyte' }), /not latest/],
  ['no memory limit', (all) => delete container(all).resources.limits.memory, /limits/],
  ['root user', (all) => Object.assign(trainer(all).securityContext, { runAsUser: 0 }), /root/],
  ['privileged', (all) => Object.assign(container(all).securityContext, { privileged: true }), /privileged/],
  ['a capability', (all) => Object.assign(container(all).securityContext.capabilities, { add: ['NET_RAW'] }), /capab/],
  ['writable root', (all) => delete container(all).securityContext.readOnlyRootFilesystem, /read-only/],
  ['host path', (all) => trainer(all).volumes.push({ name: 'host', hostPath: { path: '/' } }), /host/],
  ['service account token', (all) => delete trainer(all).automountServiceAccountToken, /token of the API/],
  ['restart by kubelet', (all) => Object.assign(trainer(all), { restartPolicy: 'OnFailure' }), /kubelet/],
  ['short grace', (all) => Object.assign(trainer(all), { terminationGracePeriodSeconds: 5 }), /drain/],
  ['HTTP probe', (all) => Object.assign(container(all), { livenessProbe: { httpGet: { port: 1 } } }), /probes/],
  ['probe of a closed port', (all) => Object.assign(container(all).readinessProbe.grpc, { port: 1 }), /probes/],
  ['mount without volume', (all) => container(all).volumeMounts.push({ name: 'x', mountPath: '/x' }), /mount/],
  ['other config map', (all) => Object.assign(first(all, 'ConfigMap').metadata, { name: 'x' }), /config map/],
  ['writable run file', (all) => delete container(all).volumeMounts[0].readOnly, /read-only/],
  [
    'token in the open',
    (all) => Object.assign(container(all).env.at(-1), { valueFrom: undefined, value: 'x' }),
    /Secret/,
  ],
  ['drain counts', (all) => Object.assign(rule(all, 75), { action: 'Count' }), /75/],
  ['config error retried', (all) => Object.assign(rule(all, 2), { action: 'Count' }), /exit code 2/],
  ['disruption asked last', (all) => worker(all).podFailurePolicy.rules.reverse(), /disruption/],
  ['rule of another container', (all) => Object.assign(rule(all, 2).onExitCodes, { containerName: 'x' }), /code 2/],
  ['early replacement', (all) => delete worker(all).podReplacementPolicy, /replaced/],
  ['not indexed', (all) => Object.assign(worker(all), { completionMode: 'NonIndexed' }), /indexed/],
  ['parallelism alone scaled', (all) => Object.assign(worker(all), { parallelism: 2 }), /equal/],
  ['all indexes may fail', (all) => Object.assign(worker(all), { maxFailedIndexes: 4 }), /may fail/],
  ['every worker must be done', (all) => delete worker(all).successPolicy, /first worker/],
  ['two trainers', (all) => Object.assign(jobOf(all, 'trainer').spec, { parallelism: 2 }), /one trainer/],
  ['no resume', (all) => trainer(all).containers[0].args.splice(2, 1), /goes on/],
  ['other Service name', (all) => Object.assign(first(all, 'Service').metadata, { name: 'x' }), /Service's name/],
  ['Service selects workers', (all) => Object.assign(first(all, 'Service').spec, { selector: { a: 'b' } }), /selects/],
  ['budget of all', (all) => Object.assign(all.filter(isBudget).at(-1).spec, { minAvailable: 4 }), /evict/],
  ['budget in percent', (all) => Object.assign(first(all, BUDGET).spec, { minAvailable: '50%' }), /number/],
  ['open network', (all) => first(all, 'NetworkPolicy').spec.egress.push({}), /everybody/],
  ['no egress policy', (all) => Object.assign(first(all, 'NetworkPolicy').spec, { policyTypes: ['Ingress'] }), /both/],
  ['unrestricted namespace', (all) => Object.assign(all[0].metadata, { labels: {} }), /restricted/],
  ['other namespace', (all) => Object.assign(first(all, 'Service').metadata, { namespace: 'x' }), /namespace/],
  ['shared claim', (all) => Object.assign(first(all, CLAIM).spec, { accessModes: ['ReadWriteMany'] }), /writer/],
  ['wrong run file', (all) => Object.assign(first(all, 'ConfigMap').data, { 'run.yaml': 'x: 1' }), /run file/],
  ['a Secret', (all) => all.push({ kind: 'Secret', metadata: { namespace: 'onebyte', labels: {} } }), /secret value/],
];
const BUDGET = 'PodDisruptionBudget';
const CLAIM = 'PersistentVolumeClaim';
const isBudget = ({ kind }: Loose): boolean => kind === BUDGET;

for (const [what, make, expected] of MISTAKES)
  test(`a planted mistake is caught: ${what}`, () => {
    const objects = tinyLaunch();
    make(objects);
    assert.match(violations(objects).join('\n'), expected);
  });
