import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { toYaml } from '../../../k8s/render/kustomize.ts';
import { launchObjects } from '../../../k8s/render/objects.ts';
import { launchPlan } from '../../../k8s/render/plan.ts';
import { readRunFile } from '../../../settings/run-file.ts';
import { DEFAULTS, jobOf, parseObjects, podOf, tinyLaunch, tinyPlan } from '../../support/k8s-launch.ts';
import { root, runFile, runOnebyte } from '../../support/onebyte.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

test('the command prints the objects', async () => {
  const { code, stdout } = await runOnebyte('k8s', 'render', runFile, '--workers', '3', '--queue', 'spot');
  assert.equal(code, 0);
  assert.deepEqual(parseObjects(stdout), tinyLaunch({ workers: 3, queue: 'spot' }));
});

test('completions, parallelism and the run file have the number of workers', () => {
  const objects = tinyLaunch({ workers: 7 });
  const { completions, parallelism } = jobOf(objects, 'worker').spec;
  const run = parse(objects.find(({ kind }) => kind === 'ConfigMap').data['run.yaml']);
  assert.deepEqual([completions, parallelism, run.workers], [7, 7, 7]);
});

test('GPUs are limits of the worker, with a toleration and the provider that needs them', () => {
  const { tolerations, containers } = podOf(tinyLaunch({ gpus: 1 }), 'worker');
  assert.equal(containers[0].resources.limits['nvidia.com/gpu'], '1');
  assert.equal(tolerations[0].key, 'nvidia.com/gpu');
  assert.ok(containers[0].args.includes('--set=worker.provider=cuda'));
});

test('the pods that have GPUs run in the runtime class that is named', () => {
  const objects = tinyLaunch({ gpus: 1, runtimeClass: 'nvidia' });
  const classes = (['trainer', 'worker'] as const).map((component) => podOf(objects, component).runtimeClassName);
  assert.deepEqual(classes, [undefined, 'nvidia']);
});

test('model and data on claims are mounted read-only and named in the run file', () => {
  const objects = tinyLaunch({ modelClaim: 'models/smollm2', dataClaim: 'reviews' });
  for (const component of ['trainer', 'worker'] as const) {
    const { volumes, containers } = podOf(objects, component);
    const mounts = containers[0].volumeMounts.filter(({ name }: { name: string }) => ['model', 'data'].includes(name));
    assert.deepEqual(mounts, [
      { name: 'model', mountPath: '/model', readOnly: true, subPath: 'smollm2' },
      { name: 'data', mountPath: '/data', readOnly: true },
    ]);
    const claims = volumes.flatMap((volume: { persistentVolumeClaim?: { claimName: string } }) =>
      volume.persistentVolumeClaim ? [volume.persistentVolumeClaim.claimName] : [],
    );
    assert.deepEqual(claims.slice(-2), ['models', 'reviews']);
  }
  const run = parse(objects.find(({ kind }) => kind === 'ConfigMap').data['run.yaml']);
  assert.equal(run.model, '/model');
  assert.equal(run.data.train, '/data/train.jsonl');
});

test('a privacy budget needs a claim for its ledger, or a place for it in the run file', () => {
  const file = join(temporaryDirectory(), 'run.yaml');
  const plan = (privacy: string, flags: object = {}) => {
    writeFileSync(file, `model: ./m\ndata: { train: a.jsonl }\n${privacy}\n`);
    return launchPlan(file, { ...DEFAULTS, modelClaim: 'm', dataClaim: 'd', ...flags });
  };
  const budget = 'worker: { privacy: { epsilon: 4, clip: 2 } }';
  const ledgerClaim = { ledgerClaim: 'ledgers/a' };
  assert.throws(() => plan(budget), /worker\.privacy: .*--ledger-claim/);
  assert.throws(() => plan('', ledgerClaim), /--ledger-claim: the run file has no worker\.privacy/);
  plan('worker: { privacy: { epsilon: 4, clip: 2, ledger: /mine } }');
  const folderOf = (flags: object) => {
    const given = plan(budget, { ...ledgerClaim, ...flags });
    assert.equal(parse(given.runFile).worker.privacy.ledger, '/ledger');
    const objects = parseObjects(toYaml(Object.values(launchObjects(given)).flat()));
    const ledgers = (component: 'trainer' | 'worker') =>
      podOf(objects, component).containers[0].volumeMounts.filter(({ name }: { name: string }) => name === 'ledger');
    assert.deepEqual(ledgers('trainer'), []);
    return ledgers('worker');
  };
  assert.deepEqual(folderOf({}), [{ name: 'ledger', mountPath: '/ledger', subPathExpr: 'a' }]);
  const [own] = folderOf({ dataByIndex: true });
  assert.equal(own.subPathExpr, 'a/$(JOB_COMPLETION_INDEX)');
});

test('a privacy budget is of rows that workers do not share, and of workers that evaluate nothing', () => {
  const file = join(temporaryDirectory(), 'run.yaml');
  const privacy = 'worker: { privacy: { epsilon: 4, clip: 2, ledger: /mine } }\n';
  const plan = (flags: object, more = '') => {
    writeFileSync(file, `model: ./m\ndata: { train: a.jsonl, shards: 2 }\n${privacy}${more}`);
    return launchPlan(file, { ...DEFAULTS, modelClaim: 'm', dataClaim: 'd', ...flags });
  };
  assert.throws(() => plan({ workers: 3 }), /worker\.privacy: 3 workers would share 2 shards/);
  for (const flags of [{ workers: 2 }, { workers: 3, dataByIndex: true }]) {
    plan(flags);
    for (const key of ['patience: 3', 'stopAt: { loss: 1 }'])
      assert.throws(
        () => plan(flags, `trainer: { ${key} }\n`),
        /trainer\.\w+: workers with a privacy budget evaluate nothing/,
      );
  }
});

test('a list of training files is a list of paths in the pods, and no index has a list of its own', () => {
  const file = join(temporaryDirectory(), 'run.yaml');
  writeFileSync(file, 'model: ./m\ndata: { train: [a.jsonl, b.jsonl] }\n');
  const plan = (flags: object) => launchPlan(file, { ...DEFAULTS, modelClaim: 'm', dataClaim: 'd', ...flags });
  assert.deepEqual(parse(plan({}).runFile).data.train, ['/data/a.jsonl', '/data/b.jsonl']);
  assert.throws(() => plan({ dataByIndex: true }), /--data-by-index: data\.train is a list/);
});

test('a worker sees the folder of its own index alone when the data is split by index', () => {
  const objects = tinyLaunch({ dataClaim: 'reviews', dataByIndex: true });
  const mounts = (component: 'trainer' | 'worker') =>
    podOf(objects, component).containers[0].volumeMounts.filter(({ name }: { name: string }) => name === 'data');
  const shared = { name: 'data', mountPath: '/data', readOnly: true, subPath: 'shared' };
  const own = { name: 'data', mountPath: '/shard', readOnly: true, subPathExpr: 'shards/$(JOB_COMPLETION_INDEX)' };
  assert.deepEqual(mounts('trainer'), [shared]);
  assert.deepEqual(mounts('worker'), [shared, own]);
  assert.ok(podOf(objects, 'worker').containers[0].args.includes('--data=/shard/train.jsonl'));
});

test('plain text is rendered only when it is asked for', () => {
  const args = (objects: ReturnType<typeof tinyLaunch>) => podOf(objects, 'trainer').containers[0].args;
  assert.ok(!args(tinyLaunch()).includes('--insecure'));
  assert.ok(args(tinyLaunch({ insecure: true })).includes('--insecure'));
});

test('the page of the run is served where it is asked for, and Prometheus finds it by the labels of its Service alone', () => {
  const named = (objects: ReturnType<typeof tinyLaunch>, name: string) =>
    objects.filter(({ metadata }) => metadata.name === name);
  assert.deepEqual(named(tinyLaunch(), 'onebyte-dashboard'), []);
  const objects = tinyLaunch({ dashboard: true, serviceMonitor: true });
  const [service, monitor] = named(objects, 'onebyte-dashboard');
  const { args, ports } = podOf(objects, 'trainer').containers[0];
  const port = ports.find(({ name }: { name: string }) => name === service.spec.ports[0].targetPort).containerPort;
  assert.ok(args.includes(`--dashboard=$(POD_IP):${port}`));
  const { matchLabels } = monitor.spec.selector;
  const selected = objects.filter(
    ({ kind, metadata }) =>
      kind === 'Service' && Object.entries(matchLabels).every(([label, value]) => metadata.labels[label] === value),
  );
  assert.deepEqual(selected, [service]);
  assert.equal(monitor.spec.endpoints[0].port, service.spec.ports[0].name);
  const network = objects.find(({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.name === 'onebyte-trainer');
  const reached = network.spec.ingress.flatMap((rule: { ports: { port: number }[] }) =>
    rule.ports.map(({ port }) => port),
  );
  assert.deepEqual(reached, [50051, port]);
});

test('comments of the run file stay, and keys that pods do not have are gone', () => {
  const { runFile } = tinyPlan();
  assert.match(runFile, /^# The demo/);
  assert.doesNotMatch(runFile, /^out:|test:/m);
});

test('what no pod could see is refused with the flag that helps', () => {
  const file = join(temporaryDirectory(), 'run.yaml');
  writeFileSync(file, 'model: ./m\ndata: {train: rows.jsonl, dev: ../elsewhere/dev.jsonl}\n');
  const plan = (flags: object) => () => launchPlan(file, { ...DEFAULTS, ...flags });
  assert.throws(plan({}), /not in the image.*--model-claim/);
  assert.throws(plan({ modelClaim: 'm' }), /the folder of data\.train .*: not in the image.*--data-claim/);
  assert.throws(plan({ modelClaim: 'm', dataClaim: 'd' }), /data\.dev .*must lie in the folder of data\.train/);
});

test('all pods ask for the nodes and the pull secret that are given', () => {
  const objects = tinyLaunch({ nodeSelector: ['pool=spot', 'example.org/zone=a'], imagePullSecret: 'registry' });
  for (const component of ['trainer', 'worker'] as const) {
    const { nodeSelector, imagePullSecrets } = podOf(objects, component);
    assert.deepEqual(nodeSelector, { pool: 'spot', 'example.org/zone': 'a' });
    assert.deepEqual(imagePullSecrets, [{ name: 'registry' }]);
  }
});

test('workers may write as much as --scratch says', () => {
  const { volumes, containers } = podOf(tinyLaunch({ scratch: '12Gi' }), 'worker');
  assert.deepEqual(volumes.find((volume: { name: string }) => volume.name === 'tmp').emptyDir, { sizeLimit: '12Gi' });
  const { requests, limits } = containers[0].resources;
  assert.deepEqual([requests['ephemeral-storage'], limits['ephemeral-storage']], ['12Gi', '12Gi']);
});

test('a model of an example that was not made is named', () => {
  const file = join(root, 'examples/smollm2-sentiment/run.yaml');
  const plan = () => launchPlan(file, DEFAULTS);
  if (existsSync(readRunFile(file).model)) plan();
  else assert.throws(plan, /model .*examples\/smollm2-sentiment\/.*is not there, so an image made here lacks it/);
});

for (const [flags, expected] of [
  [{ serviceMonitor: true }, /--service-monitor needs --dashboard/],
  [{ nodeSelector: ['pool'] }, /--node-selector pool: expected LABEL=VALUE/],
  [{ imagePullSecret: 'a b' }, /--image-pull-secret a b/],
  [{ gpus: 2 }, /--gpus 2: a worker computes on one GPU/],
  [{ gpus: 1, runtimeClass: 'Nvidia' }, /--runtime-class Nvidia: expected the name of a RuntimeClass/],
  [{ runtimeClass: 'nvidia' }, /--runtime-class needs --gpus/],
  [{ image: 'onebyte' }, /--image/],
  [{ image: 'registry:5000/onebyte:latest' }, /--image/],
  [{ name: 'One' }, /--name/],
  [{ name: '1st' }, /--name 1st: .*a letter first/],
  [{ namespace: '-x' }, /--namespace/],
  [{ workers: 0 }, /--workers 0/],
  [{ memory: '4 GB' }, /--memory 4 GB/],
  [{ cpu: '-1' }, /--cpu -1/],
  [{ modelClaim: 'm/../secret' }, /--model-claim/],
  [{ dataByIndex: true }, /--data-by-index needs --data-claim/],
] as const)
  test(`${JSON.stringify(flags)} is refused`, () => {
    assert.throws(() => tinyPlan(flags), expected);
  });
