/** The Node object and the lease that keeps it ready. */
import os from 'node:os';
import { MERGE, now, STRATEGIC_MERGE } from './api.mjs';

const CAPACITY = { cpu: '16', memory: '64Gi', pods: '250', 'ephemeral-storage': '100Gi' };

/** Makes the Node, or takes the one that is there. */
export async function registerNode(api, name) {
  const labels = { 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': os.arch() };
  await api.request('POST', '/api/v1/nodes', { metadata: { name, labels } }).catch((error) => {
    if (error.code !== 409) throw error;
  });
}

/** Says that the node is ready and where its logs are read. */
export async function reportNode(api, name, logsPort) {
  const [lastHeartbeatTime, lastTransitionTime] = [now(), now()];
  const condition = (type, status) => ({ type, status, reason: 'Agent', lastHeartbeatTime, lastTransitionTime });
  const pressures = ['MemoryPressure', 'DiskPressure', 'PIDPressure'].map((type) => condition(type, 'False'));
  const status = {
    capacity: CAPACITY,
    allocatable: CAPACITY,
    addresses: [
      { type: 'InternalIP', address: '127.0.0.1' },
      { type: 'Hostname', address: name },
    ],
    conditions: [condition('Ready', 'True'), ...pressures],
    daemonEndpoints: { kubeletEndpoint: { Port: logsPort } },
    nodeInfo: {
      ...{ kubeletVersion: 'v1.36.0-process', operatingSystem: 'linux', architecture: os.arch(), osImage: 'host' },
      ...{ containerRuntimeVersion: 'process://1', kernelVersion: os.release(), kubeProxyVersion: '' },
      ...{ bootID: '', machineID: '', systemUUID: '' },
    },
  };
  await api.request('PATCH', `/api/v1/nodes/${name}/status`, { status }, STRATEGIC_MERGE);
}

export async function renewLease(api, name) {
  const path = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
  const renewTime = new Date().toISOString().replace('Z', '000Z');
  const spec = { holderIdentity: name, leaseDurationSeconds: 40, renewTime };
  await api.request('PATCH', `${path}/${name}`, { spec }, MERGE).catch((error) => {
    if (error.code !== 404) throw error;
    return api.request('POST', path, { metadata: { name }, spec });
  });
}
