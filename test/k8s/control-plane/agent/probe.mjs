/** gRPC probes, asked from the network of the pods as the kubelet asks them. */
import { execFile } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** Resolves with whether grpc.health.v1 says SERVING. */
function ask(network, address, { grpc, timeoutSeconds = 1 }) {
  const program = fileURLToPath(new URL('grpc-health.mjs', import.meta.url));
  const argv = [`--net=${network.namespace}`, process.execPath, program, address, grpc.port, grpc.service ?? ''];
  return new Promise((resolve) => {
    execFile('nsenter', argv.map(String), { timeout: 1000 * timeoutSeconds + 500, killSignal: 'SIGKILL' }, (error) =>
      resolve(error === null),
    );
  });
}

/**
 * Probes a container until it has ended.
 * @param running whether it still runs
 * @param onReady called with each change of its readiness
 * @param onDead called once when a startup or liveness probe has failed for good
 */
export async function probeContainer({ container, network, address, running, onReady, onDead }) {
  const { startupProbe, readinessProbe, livenessProbe } = container;
  for (const probe of [startupProbe, readinessProbe, livenessProbe])
    if (probe && !probe.grpc) throw new Error(`${container.name}: only gRPC probes are supported`);
  if (startupProbe && !(await becomesTrue(startupProbe, { network, address, running }))) {
    if (running()) onDead('startup');
    return;
  }
  if (!readinessProbe) onReady(true);
  await Promise.all([
    readinessProbe && follow(readinessProbe, { network, address, running, onChange: onReady }),
    livenessProbe &&
      follow(livenessProbe, { network, address, running, onChange: (alive) => alive || onDead('liveness') }),
  ]);
}

async function becomesTrue(probe, { network, address, running }) {
  for (let failures = 0; running() && failures < (probe.failureThreshold ?? 3); failures++) {
    if (await ask(network, address, probe)) return true;
    await pause(1000 * (probe.periodSeconds ?? 10));
  }
  return false;
}

async function follow(probe, { network, address, running, onChange }) {
  let state;
  for (let failures = 0; running(); await pause(1000 * (probe.periodSeconds ?? 10))) {
    failures = (await ask(network, address, probe)) ? 0 : failures + 1;
    const next = failures === 0 ? true : failures >= (probe.failureThreshold ?? 3) ? false : state;
    if (next !== state && running()) onChange(next);
    state = next;
  }
}
