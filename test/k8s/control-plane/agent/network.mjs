/** Addresses of pods, all in one network namespace, and the names of headless Services in their hosts files. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** @param namespace file of the network namespace; @param prefix first three bytes of all addresses */
export function podNetwork(namespace, prefix) {
  const used = new Set();
  const ip = (operation, address) =>
    execFileSync('nsenter', [`--net=${namespace}`, 'ip', 'addr', operation, `${address}/32`, 'dev', 'lo']);
  return {
    namespace,
    take() {
      for (let last = 2; last < 255; last++) {
        const address = `${prefix}.${last}`;
        if (used.has(address)) continue;
        used.add(address);
        ip('add', address);
        return address;
      }
      throw new Error('out of pod addresses');
    },
    give(address) {
      if (used.delete(address)) ip('del', address);
    },
  };
}

/** Writes every pod's hosts file: a Service's name stands for its ready pods. */
export function writeHosts(pods, services) {
  const running = [...pods].filter((pod) => !pod.done);
  for (const pod of running) {
    const own = pod.object.metadata.namespace;
    const lines = services.flatMap(({ metadata, spec }) =>
      running
        .filter((other) => other.ready && isSelected(other.object.metadata, metadata.namespace, spec.selector))
        .map(({ address }) => {
          const full = `${metadata.name}.${metadata.namespace}`;
          const short = metadata.namespace === own ? ` ${metadata.name}` : '';
          return `${address} ${full}.svc.cluster.local ${full}.svc ${full}${short}`;
        }),
    );
    const text = ['127.0.0.1 localhost', ...lines, `${pod.address} ${pod.hostname}`, ''].join('\n');
    writeFileSync(join(pod.directory, 'hosts'), text);
  }
}

const isSelected = ({ namespace, labels = {} }, serviceNamespace, selector) =>
  selector !== undefined &&
  namespace === serviceNamespace &&
  Object.entries(selector).every(([key, value]) => labels[key] === value);
