/** One pod with one container that is started once: from its binding to its end, and what the API server is told of it. */
import { chmodSync, mkdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { log, now, STRATEGIC_MERGE } from './api.mjs';
import { processOne, startContainer } from './container.mjs';
import { environmentOf, makeVolumes } from './content.mjs';
import { probeContainer } from './probe.mjs';

/** How unshare before 2.39 ends when its child was killed. */
const KILLED = 'unshare: sigprocmask unblock failed: Invalid argument\n';

export class Pod {
  ready = false;
  done = false;
  #agent;
  #state = { waiting: { reason: 'ContainerCreating' } };
  #child;
  #ended;
  #stopping = false;
  #conditions = {};
  #reported;
  #reports = Promise.resolve();

  /** @param agent {api, network, images, directory, onChange} of the node */
  constructor(object, agent) {
    const { metadata, spec } = object;
    if (spec.containers.length !== 1 || spec.initContainers || spec.restartPolicy !== 'Never')
      throw new Error(`${metadata.name}: only pods of one container that is never restarted are supported`);
    this.object = object;
    this.#agent = agent;
    this.container = spec.containers[0];
    this.hostname = spec.hostname ?? metadata.name;
    this.directory = join(agent.directory, 'pods', metadata.uid);
    this.logFile = join(agent.directory, 'logs', `${metadata.namespace}_${metadata.name}_${metadata.uid}.log`);
    for (const path of [this.directory, join(agent.directory, 'logs')]) mkdirSync(path, { recursive: true });
    chmodSync(this.directory, 0o711);
    this.address = agent.network.take();
    this.startTime = now();
  }

  get path() {
    const { namespace, name } = this.object.metadata;
    return `/api/v1/namespaces/${namespace}/pods/${name}`;
  }

  /** Runs the pod to its end. */
  async run() {
    await this.#report();
    const start = await this.#prepare();
    if (start) await this.#execute(start);
    this.done = true;
    this.ready = false;
    this.#agent.network.give(this.address);
    await this.#report();
    if (this.object.metadata.deletionTimestamp) await this.remove();
  }

  /** Tries until everything that the pod needs is there. @returns undefined when the pod was stopped meanwhile */
  async #prepare() {
    const { api, images } = this.#agent;
    const image = images[this.container.image] ?? images['*'];
    while (!this.#stopping)
      try {
        const env = await environmentOf(api, this, this.container, image);
        const volumes = await makeVolumes(api, this);
        return { pod: this, container: this.container, image, env, volumes };
      } catch (error) {
        this.#state.waiting.message = error.message;
        await this.#report();
        await pause(1000);
      }
    return undefined;
  }

  async #execute(start) {
    const startedAt = now();
    this.#agent.onChange();
    const child = startContainer({ ...start, logFile: this.logFile, network: this.#agent.network });
    this.#child = child;
    this.#ended = new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal })));
    this.#state = { running: { startedAt } };
    log('start', this.object.metadata.name, child.pid);
    await this.#report();
    const running = () => this.#child !== undefined && !this.done;
    const onReady = (ready) => this.#becomes(ready && running());
    const onDead = (probe) => {
      log(probe, 'probe failed', this.object.metadata.name);
      this.stop(this.object.spec.terminationGracePeriodSeconds).catch((error) => log(error.message));
    };
    const { network } = this.#agent;
    const probes = { container: this.container, network, address: this.address, running, onReady, onDead };
    probeContainer(probes).catch((error) => log(error.message));
    const exitCode = this.#exitCode(await this.#ended);
    this.#child = undefined;
    const message = exitCode === 0 ? '' : readFileSync(this.logFile, 'utf8').slice(-2048);
    const reason = exitCode === 0 ? 'Completed' : 'Error';
    this.#state = { terminated: { exitCode, reason, message, startedAt, finishedAt: now() } };
    log('exit', this.object.metadata.name, exitCode);
  }

  #exitCode({ code, signal }) {
    const text = readFileSync(this.logFile);
    if (code === 1 && text.subarray(-KILLED.length).toString() === KILLED) {
      truncateSync(this.logFile, text.length - KILLED.length);
      return 128 + os.constants.signals.SIGKILL;
    }
    return code ?? 128 + os.constants.signals[signal];
  }

  #becomes(ready) {
    if (ready === this.ready) return;
    this.ready = ready;
    this.#agent.onChange();
    this.#report().catch((error) => log(error.message));
  }

  /** SIGTERM, and SIGKILL after the grace period. */
  async stop(graceSeconds = 30) {
    if (this.#stopping) return;
    this.#stopping = true;
    const child = this.#child;
    if (!child) return;
    const kill = (signal) => {
      const one = processOne(child);
      if (one !== undefined) process.kill(one, signal);
    };
    if (graceSeconds > 0) kill('SIGTERM');
    await Promise.race([this.#ended, pause(1000 * graceSeconds)]);
    if (this.#child) kill('SIGKILL');
    await this.#ended;
  }

  /** The pod as the API server has it now. */
  async update(object) {
    this.object = object;
    if (!object.metadata.deletionTimestamp) return;
    if (this.done) await this.remove();
    else await this.stop(object.metadata.deletionGracePeriodSeconds);
  }

  /** Lets the API server forget a pod that has ended. */
  async remove() {
    const preconditions = { uid: this.object.metadata.uid };
    const options = { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds: 0, preconditions };
    await this.#agent.api.request('DELETE', this.path, options).catch((error) => {
      if (![404, 409].includes(error.code)) throw error;
    });
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Writes the status, one at a time; the last one carries the latest state. */
  #report() {
    this.#reports = this.#reports.then(async () => {
      const status = this.#status();
      const text = JSON.stringify(status);
      if (text === this.#reported) return;
      const patch = { metadata: { uid: this.object.metadata.uid }, status };
      try {
        await this.#agent.api.request('PATCH', `${this.path}/status`, patch, STRATEGIC_MERGE);
        this.#reported = text;
      } catch (error) {
        if (![404, 409].includes(error.code)) throw error;
      }
    });
    return this.#reports;
  }

  #status() {
    const exitCode = this.#state.terminated?.exitCode;
    const phase = this.done ? (exitCode === 0 ? 'Succeeded' : 'Failed') : this.#state.running ? 'Running' : 'Pending';
    const { name, image } = this.container;
    const condition = (type, isTrue) => {
      const status = isTrue ? 'True' : 'False';
      if (this.#conditions[type]?.status !== status)
        this.#conditions[type] = { type, status, lastTransitionTime: now(), reason: isTrue ? null : 'NotReady' };
      return this.#conditions[type];
    };
    return {
      phase,
      ...{ hostIP: '127.0.0.1', podIP: this.address, podIPs: [{ ip: this.address }], startTime: this.startTime },
      conditions: [
        condition('PodReadyToStartContainers', !this.done),
        condition('Initialized', true),
        condition('ContainersReady', this.ready),
        condition('Ready', this.ready),
      ],
      containerStatuses: [
        { name, image, imageID: `process://${image}`, restartCount: 0, ready: this.ready, state: this.#state },
      ],
    };
  }
}
