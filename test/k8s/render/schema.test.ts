/** The types of the Kubernetes API are the schema: tsc reads rendered objects as literals, so that an unknown key is an error too. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { toYaml } from '../../../k8s/render/kustomize.ts';
import { launchSecrets } from '../../../k8s/render/secrets.ts';
import { jobOf, parseObjects, podOf, tinyLaunch } from '../../support/k8s-launch.ts';
import type { Loose } from '../../support/k8s-policy.ts';
import { root } from '../../support/onebyte.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const MODULE_OF: { readonly [apiVersion: string]: string } = {
  v1: 'core/v1',
  'batch/v1': 'batch/v1',
  'policy/v1': 'policy/v1',
  'networking.k8s.io/v1': 'networking/v1',
};

/** What tsc says of the objects of each launch, by its name; a launch without faults is not there. */
function faults(launches: { readonly [name: string]: Loose[] }): Map<string, string> {
  const directory = temporaryDirectory();
  for (const [name, objects] of Object.entries(launches)) {
    const lines = objects.map((object, i) => {
      const from = `kubernetes-types/${MODULE_OF[object.apiVersion]}.js`;
      return `export const o${i}: import('${from}').${object.kind} = ${JSON.stringify(object)};`;
    });
    writeFileSync(join(directory, `${name}.ts`), lines.join('\n'));
  }
  const paths = { 'kubernetes-types/*.js': [join(root, 'node_modules/kubernetes-types/*.d.ts')] };
  const compilerOptions = { strict: true, noEmit: true, module: 'nodenext', types: [], skipLibCheck: true, paths };
  writeFileSync(join(directory, 'package.json'), '{"type": "module"}');
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
  const { stdout } = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', directory, '--pretty', 'false'], {
    cwd: directory,
    encoding: 'utf8',
  });
  const found = new Map<string, string>();
  for (const [line, name] of stdout.matchAll(/^(?:.*\/)?([\w-]+)\.ts\(.*$/gm)) found.set(name!, line);
  return found;
}

const broken = (make: (objects: Loose[]) => void): Loose[] => {
  const objects = tinyLaunch();
  make(objects);
  return objects;
};

test('rendered objects have the keys and types of the API, and a mistake in them is found', () => {
  const launches = {
    plain: tinyLaunch(),
    gpu: tinyLaunch({ gpus: 1, queue: 'q', storageClass: 'fast', dashboard: true }),
    volumes: tinyLaunch({ modelClaim: 'm', dataClaim: 'd/x', dataByIndex: true, insecure: true }),
    secrets: parseObjects(toYaml(launchSecrets({ name: 'a', namespace: 'b', days: 1 }))),
    'wrong-key': broken((all) => Object.assign(jobOf(all, 'worker').spec, { backoffLimitPerIndx: 1 })),
    'wrong-type': broken((all) => Object.assign(podOf(all, 'worker'), { terminationGracePeriodSeconds: '60' })),
    'wrong-level': broken((all) => Object.assign(podOf(all, 'worker'), { backoffLimit: 1 })),
    'wrong-kind': broken((all) => Object.assign(jobOf(all, 'worker'), { kind: 'Service', apiVersion: 'v1' })),
    'lost-key': broken((all) => delete podOf(all, 'trainer').containers[0].name),
  };
  const found = faults(launches);
  const expected = ['lost-key', 'wrong-key', 'wrong-kind', 'wrong-level', 'wrong-type'];
  assert.deepEqual([...found.keys()].sort(), expected, [...found.values()].join('\n'));
});
