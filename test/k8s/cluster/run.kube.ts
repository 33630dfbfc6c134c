/** End to end on a real control plane. One cluster for all tests; each run has a namespace of its own. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { OVERLAYS } from '../../../cli/k8s.ts';
import { lastJson, root, runOnebyte } from '../../support/onebyte.ts';
import { type Cluster, startCluster } from './cluster.ts';
import {
  deletedWorkerComesBack,
  evictionsKeepTheBudget,
  killedTrainerGoesOn,
  probesSayReady,
  scalesUpAndDown,
} from './elastic.ts';
import { Launch } from './launch.ts';

let cluster: Cluster;
before(async () => {
  cluster = await startCluster();
});
after(() => cluster?.stop());

/** The digest that replaying the round log on the volume gives is the one that the trainer ended with. */
async function assertReplays(launch: Launch): Promise<void> {
  const result = await launch.result();
  const log = join(launch.volume, launch.name, 'round.log');
  const replayed = lastJson(await runOnebyte('replay', '--log', log, '--json'));
  assert.equal(replayed.adapterDigest, result.adapterDigest);
}

for (const overlay of Object.keys(OVERLAYS))
  test(`the API server takes the overlay ${overlay} as it is`, async () => {
    await cluster.kubectl('apply', '-f', join(root, 'k8s/base/namespace.yaml'));
    const folder = join(root, 'k8s/overlays', overlay);
    const output = await cluster.pipe('', 'apply', '-k', folder, '--dry-run=server', '--validate=strict');
    assert.equal(output.match(/server dry run/g)?.length, 10);
    assert.doesNotMatch(output, /warning/i);
  });

test('the API server takes the pod that copies an adapter out', async () => {
  const file = join(root, 'k8s/fetch.yaml');
  const output = await cluster.pipe('', '-n', 'onebyte', 'apply', '-f', file, '--dry-run=server', '--validate=strict');
  assert.doesNotMatch(output, /warning/i);
});

test('a run in a restricted namespace finishes and leaves its adapter on the volume', async () => {
  const launch = new Launch(cluster, 'tiny');
  await launch.start(60, 2);
  await launch.worker(0);
  await launch.ends('trainer', 'Complete', 120);
  await launch.ends('worker', 'Complete', 60);
  assert.equal(lastOf(launch.file('checkpoints/round-000060/adapter_config.json')), '}');
  assert.ok(launch.file('checkpoints/round-000060/adapter_model.safetensors').length > 10_000);
  await assertReplays(launch);
});

const lastOf = (file: Buffer): string => file.toString().trimEnd().slice(-1);

test('a wrong run file fails both Jobs at once', async () => {
  const launch = new Launch(cluster, 'wrong');
  await launch.start(60, 2, (yaml) => yaml.replace('rounds: 60', 'rounds: many'));
  for (const component of ['trainer', 'worker'] as const) {
    const { reason, message } = await launch.ends(component, 'Failed', 60);
    assert.equal(reason, 'PodFailurePolicy');
    assert.match(message, /exit code 2/);
    assert.ok(((await launch.job(component)).status.failed ?? 0) <= 2, 'no pod was tried again');
  }
});

test('a long run survives what happens to its pods', async (context) => {
  const launch = new Launch(cluster, 'elastic');
  await launch.start(1_000_000, 2);
  const part = (sentence: string, check: (cluster: Cluster, launch: Launch) => Promise<void>): Promise<void> =>
    context.test(sentence, () => check(cluster, launch));
  await part('probes say ready while the pods do their part, and the Service names the trainer', probesSayReady);
  await part('a deleted worker comes back with its index, gets its number and catches up', deletedWorkerComesBack);
  await part('workers are evicted as far as the budget allows, and the trainer is not', evictionsKeepTheBudget);
  await part('workers are scaled from 2 to 6 to 3 while rounds go on', scalesUpAndDown);
  await part('a trainer that is killed goes on with its round log to the end of the run', killedTrainerGoesOn);
  await part('the run ended with the adapter that a replay of its log gives', () => assertReplays(launch));
});
