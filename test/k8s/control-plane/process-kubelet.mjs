#!/usr/bin/env node
// A node agent for tests: registers a Node and runs the pods that the scheduler binds to it as local processes, each in
// namespaces of its own. README.md has what it can and cannot do.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import https from 'node:https';
import { parseArgs } from 'node:util';
import { connect, log } from './agent/api.mjs';
import { podNetwork, writeHosts } from './agent/network.mjs';
import { registerNode, renewLease, reportNode } from './agent/node.mjs';
import { Pod } from './agent/pod.mjs';

const NAMES = ['kubeconfig', 'node', 'root', 'images', 'netns-pid', 'pod-cidr', 'port', 'cert', 'key', 'ca'];
const { values: options } = parseArgs({ options: Object.fromEntries(NAMES.map((name) => [name, { type: 'string' }])) });
const { node, root, cert, key, ca } = options;

const api = connect(options.kubeconfig);
const pods = new Map();
let services = [];
const agent = {
  api,
  network: podNetwork(`/proc/${options['netns-pid']}/ns/net`, options['pod-cidr']),
  images: JSON.parse(readFileSync(options.images, 'utf8')),
  directory: root,
  onChange: () => writeHosts(pods.values(), services),
};
const inBackground = (promise) => promise.catch((error) => log(error.stack));

function onPod(type, object) {
  const { uid, deletionTimestamp } = object.metadata;
  const known = pods.get(uid);
  if (type === 'DELETED') {
    pods.delete(uid);
    if (known) inBackground(known.stop(0));
  } else if (known) inBackground(known.update(object));
  else if (!['Succeeded', 'Failed'].includes(object.status.phase)) {
    const pod = new Pod(object, agent);
    pods.set(uid, pod);
    inBackground(pod.run().then(agent.onChange));
    if (deletionTimestamp) inBackground(pod.update(object));
  }
}

/** `kubectl logs`: the only thing that is served. */
function onRequest(request, response) {
  const url = new URL(request.url, 'https://node');
  const [, what, namespace, name] = url.pathname.split('/');
  const isAsked = ({ object: { metadata } }) => metadata.namespace === namespace && metadata.name === name;
  const pod = [...pods.values()].findLast(isAsked);
  if (what !== 'containerLogs' || !pod || !existsSync(pod.logFile)) {
    response.writeHead(404).end('not found');
    return;
  }
  const lines = readFileSync(pod.logFile, 'utf8').split('\n');
  const tail = url.searchParams.get('tailLines');
  response.end((tail === null ? lines : lines.slice(-Number(tail) - 1)).join('\n'));
}

mkdirSync(root, { recursive: true });
const files = { cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(ca) };
const server = https.createServer({ ...files, requestCert: true, rejectUnauthorized: true }, onRequest);
await new Promise((resolve) => server.listen(Number(options.port), '127.0.0.1', resolve));
await registerNode(api, node);
await reportNode(api, node, server.address().port);
await renewLease(api, node);
setInterval(() => inBackground(renewLease(api, node)), 10_000);
setInterval(() => inBackground(reportNode(api, node, server.address().port)), 60_000);
for (const name of ['SIGTERM', 'SIGINT'])
  process.on(name, async () => {
    await Promise.race([
      Promise.all([...pods.values()].map((pod) => inBackground(pod.stop(1)))),
      new Promise((resolve) => setTimeout(resolve, 5000)),
    ]);
    process.exit(0);
  });
log('node', node, 'registered');

const onServices = (items) => {
  services = items;
  agent.onChange();
};
inBackground(
  api.listWatch('/api/v1/services', onServices, (type, object) => {
    const others = services.filter(({ metadata }) => metadata.uid !== object.metadata.uid);
    onServices(type === 'DELETED' ? others : [...others, object]);
  }),
);
inBackground(
  api.listWatch(
    `/api/v1/pods?fieldSelector=spec.nodeName%3D${node}`,
    (items) => {
      const live = new Set(items.map(({ metadata }) => metadata.uid));
      for (const [uid, pod] of pods) if (!live.has(uid)) onPod('DELETED', pod.object);
      for (const object of items) onPod('ADDED', object);
    },
    onPod,
  ),
);
