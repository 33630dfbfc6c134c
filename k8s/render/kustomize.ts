/** The kustomize base and overlays: what `onebyte k8s render` prints, cut into files. An overlay patches the workers of the base. */
import { stringify } from 'yaml';
import { workerJob } from './jobs.ts';
import { launchObjects } from './objects.ts';
import type { LaunchPlan } from './plan.ts';

/** Objects as a stream of YAML documents. */
export const toYaml = (objects: readonly object[]): string =>
  objects.map((object) => stringify(object, { lineWidth: 0, aliasDuplicateObjects: false })).join('---\n');

/** What an overlay's workers have instead of the base's. */
export type Accelerator = Pick<LaunchPlan, 'cpu' | 'memory' | 'gpus'>;

/**
 * Files of a kustomize folder by path. `kubectl kustomize overlays/NAME` gives the objects of the plan with the overlay's
 * resources.
 */
export function kustomizeFiles(
  plan: LaunchPlan,
  overlays: { readonly [name: string]: Accelerator },
): { readonly [path: string]: string } {
  const objects = launchObjects(plan);
  const files: { [path: string]: string } = {
    'base/kustomization.yaml': toYaml([{ ...KUSTOMIZATION, resources: Object.keys(objects) }]),
  };
  for (const [file, list] of Object.entries(objects)) files[`base/${file}`] = toYaml(list);
  for (const [name, accelerator] of Object.entries(overlays)) {
    const patches = [{ path: 'workers.yaml' }];
    files[`overlays/${name}/kustomization.yaml`] = toYaml([{ ...KUSTOMIZATION, resources: ['../../base'], patches }]);
    files[`overlays/${name}/workers.yaml`] = toYaml([workerPatch({ ...plan, ...accelerator })]);
  }
  return files;
}

const KUSTOMIZATION = { apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization' };

/** A strategic merge patch with the parts of the worker Job that depend on its machines. */
function workerPatch(plan: LaunchPlan): object {
  const { apiVersion, kind, metadata, spec } = workerJob(plan);
  const { containers, tolerations } = spec!.template.spec!;
  const { name, args, resources } = containers[0]!;
  return {
    apiVersion,
    kind,
    metadata: { name: metadata!.name, namespace: metadata!.namespace },
    spec: { template: { spec: { ...(tolerations && { tolerations }), containers: [{ name, args, resources }] } } },
  };
}
