/** What happens to the pods of one long run, in order; each part begins where the one before left the run. */
import assert from 'node:assert/strict';
import { type Cluster, eventually, processesWith } from './cluster.ts';
import { indexOf, type Launch } from './launch.ts';

type Part = (cluster: Cluster, launch: Launch) => Promise<void>;

const round = async (launch: Launch): Promise<number> => (await launch.round()).round;
const nameOf = ({ metadata }: { metadata: { name: string } }): string => metadata.name;
const failuresOf = ({ metadata }: { metadata: { annotations: { [key: string]: string } } }): string =>
  metadata.annotations['batch.kubernetes.io/job-index-failure-count'] ?? '0';

export const probesSayReady: Part = async (cluster, launch) => {
  await launch.rounds(10, 2);
  const trainer = await launch.trainer();
  for (const pod of [await launch.worker(0), trainer]) {
    assert.equal(await launch.probe(pod, ''), 'SERVING');
    assert.equal(await launch.probe(pod, 'ready'), 'SERVING');
  }
  const slices = await cluster.get('-n', launch.name, 'endpointslice');
  assert.deepEqual(slices.items[0].endpoints[0].addresses, [trainer.status.podIP]);
};

export const deletedWorkerComesBack: Part = async (_cluster, launch) => {
  const before = await round(launch);
  const old = nameOf(await launch.worker(1));
  await launch.kubectl('delete', 'pod', old);
  const pod = await launch.worker(1, old);
  const log = await launch.log(nameOf(pod));
  const asked = log.find(({ source }) => source !== undefined);
  assert.deepEqual([asked.number, asked.source], [1, 'JOB_COMPLETION_INDEX']);
  assert.equal(log.find(({ kind }) => kind === 'joined').worker, 1);
  assert.ok(log.find(({ kind }) => kind === 'snapshot').round > before);
  assert.equal(failuresOf(pod), '0', 'a drained worker has not failed');
  await launch.rounds(await round(launch), 2);
};

export const evictionsKeepTheBudget: Part = async (cluster, launch) => {
  const [first, second] = [nameOf(await launch.worker(0)), nameOf(await launch.worker(1))];
  await eventually('the budget allows an eviction', 30, async () => {
    const { status } = await cluster.get('-n', launch.name, 'pdb', `${launch.name}-worker`);
    return status.disruptionsAllowed === 1 || undefined;
  });
  assert.equal(await launch.evict(first), undefined);
  assert.match((await launch.evict(second)) ?? '', /disruption budget/);
  assert.match((await launch.evict(nameOf(await launch.trainer()))) ?? '', /disruption budget/);
  assert.equal(failuresOf(await launch.worker(0, first)), '0', 'an evicted worker has not failed');
  await launch.rounds(await round(launch), 2);
};

export const scalesUpAndDown: Part = async (_cluster, launch) => {
  await launch.scale(6);
  await launch.rounds(await round(launch), 6);
  await launch.scale(3);
  await launch.rounds(await round(launch), 3);
  assert.deepEqual((await launch.pods('worker')).map(indexOf).sort(), [0, 1, 2]);
};

/** `rounds` is not part of what replicas share, so that a run can be made to end soon, whatever this machine's speed. */
export const killedTrainerGoesOn: Part = async (cluster, launch) => {
  const old = nameOf(await launch.trainer());
  const end = (await round(launch)) + 100;
  const { data } = await cluster.get('-n', launch.name, 'configmap', `${launch.name}-run`);
  const shorter = data['run.yaml'].replace(/rounds: \d+/, `rounds: ${end}`);
  const patch = JSON.stringify({ data: { 'run.yaml': shorter } });
  await launch.kubectl('patch', 'configmap', `${launch.name}-run`, '--type=merge', '-p', patch);
  const pids = processesWith(`--out=/runs/${launch.name}`);
  assert.equal(pids.length, 1);
  process.kill(pids[0]!, 'SIGKILL');
  await launch.trainer(old);
  await launch.ends('trainer', 'Complete', 120);
  await launch.ends('worker', 'Complete', 60);
  assert.ok((await launch.result()).rounds >= end);
};
