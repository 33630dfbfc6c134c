import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { OVERLAYS } from '../../../cli/k8s.ts';
import { parseObjects, tinyLaunch, tinyPlan } from '../../support/k8s-launch.ts';
import { type Loose, violations } from '../../support/k8s-policy.ts';
import { kubectl } from '../../support/kube.ts';
import { root } from '../../support/onebyte.ts';

const folder = (...path: string[]): string => join(root, 'k8s', ...path);
const read = (...path: string[]): string => readFileSync(folder(...path), 'utf8');

/** The strategic merge of what our patches hold: lists whose members have names are merged by them, others are replaced. */
function merged(target: Loose, patch: Loose): Loose {
  if (Array.isArray(patch) && patch.every((member) => member?.name) && Array.isArray(target))
    return target.map((member) => {
      const own = patch.find(({ name }) => name === member.name);
      return own ? merged(member, own) : member;
    });
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch) || typeof target !== 'object') return patch;
  const result = { ...target };
  for (const [key, value] of Object.entries(patch)) result[key] = key in result ? merged(result[key], value) : value;
  return result;
}

/** What kustomize makes of an overlay, as far as ours use it. */
function overlay(name: string): Loose[] {
  const kustomization = parse(read('overlays', name, 'kustomization.yaml'));
  assert.deepEqual(kustomization.resources, ['../../base']);
  const patches = kustomization.patches.map(({ path }: Loose) => parse(read('overlays', name, path)));
  return parse(read('base/kustomization.yaml'))
    .resources.flatMap((file: string) => parseObjects(read('base', file)))
    .map((object: Loose) => patches.reduce((to: Loose, by: Loose) => (isSame(to, by) ? merged(to, by) : to), object));
}

const isSame = (one: Loose, other: Loose): boolean => keyOf(one) === keyOf(other);
const keyOf = ({ kind, metadata }: Loose): string => `${kind} ${metadata.name}`;
const sorted = (objects: Loose[]): Loose[] => objects.toSorted((a, b) => keyOf(a).localeCompare(keyOf(b)));

for (const [name, accelerator] of Object.entries(OVERLAYS)) {
  test(`the overlay ${name} is what the command renders`, () => {
    assert.deepEqual(overlay(name), tinyLaunch(accelerator));
  });

  test(`the overlay ${name} breaks no rule`, () => {
    assert.deepEqual(violations(overlay(name)), []);
  });

  if (existsSync(kubectl))
    test(`kubectl kustomize makes the same of the overlay ${name}`, () => {
      const built = parseObjects(execFileSync(kubectl, ['kustomize', folder('overlays', name)], { encoding: 'utf8' }));
      assert.deepEqual(sorted(built), sorted(tinyLaunch(accelerator)));
    });
}

test('the image that is launched is the one of this version', () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  assert.equal(tinyPlan().image, `onebyte:${version}`);
});
