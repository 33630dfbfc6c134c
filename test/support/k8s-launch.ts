/** Launches for tests: what `onebyte k8s render` would print, as objects. */
import { parseAllDocuments } from 'yaml';
import { toYaml } from '../../k8s/render/kustomize.ts';
import { launchObjects } from '../../k8s/render/objects.ts';
import { type LaunchPlan, launchPlan, type RenderFlags } from '../../k8s/render/plan.ts';
import type { Loose } from './k8s-policy.ts';
import { runFile } from './onebyte.ts';

export const DEFAULTS = {
  name: 'onebyte',
  namespace: 'onebyte',
  gpus: 0,
  cpu: '1',
  memory: '2Gi',
  scratch: '1Gi',
  storage: '1Gi',
};

export const tinyPlan = (flags: Partial<RenderFlags> = {}): LaunchPlan =>
  launchPlan(runFile, { ...DEFAULTS, ...flags });

export const parseObjects = (text: string): Loose[] => parseAllDocuments(text).map((document) => document.toJS());

/** Objects of the tiny example's launch, as kubectl would read them. */
export const tinyLaunch = (flags: Partial<RenderFlags> = {}): Loose[] =>
  parseObjects(toYaml(Object.values(launchObjects(tinyPlan(flags))).flat()));

/** The pod of the trainer's or the workers' Job. */
export const podOf = (objects: Loose[], component: 'trainer' | 'worker'): Loose =>
  jobOf(objects, component).spec.template.spec;

export const jobOf = (objects: Loose[], component: 'trainer' | 'worker'): Loose =>
  objects.find(({ kind, metadata }) => kind === 'Job' && metadata.name.endsWith(component));
